"""What ``status.json`` says about a run's last start, and who may write it."""

import errno
import json
import subprocess
import sys

import pytest

from shards.errors import UserError
from trainer.runs import status
from trainer.runs.lease import LeaseLost
from trainer.runs.status import Interrupted, LostRank, mark_finished, record_stage


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (None, "finished", None),
        (Interrupted("stopped at step 3"), "interrupted", "stopped at step 3"),
        (LostRank("rank 0: gone"), "interrupted", "rank 0: gone"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (UserError("is bad", key="data.path"), "failed", "data.path: is bad"),
        (OSError(errno.ENOSPC, "full"), "failed", "OSError: [Errno 28] full"),
        (OSError(errno.ESTALE, "stale"), "crashed", "OSError: [Errno 116] stale"),
        (ZeroDivisionError("by zero"), "crashed", "ZeroDivisionError: by zero"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_a_stage_ends(tmp_path, error, state, why):
    def stage() -> None:
        with record_stage(tmp_path, "train", "a"):
            assert status.read(tmp_path).state == "running"
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            stage()
    else:
        stage()
    note = status.read(tmp_path)
    assert (note.stage, note.state, note.why) == ("train", state, why) and note.ended >= note.began


def test_one_that_was_replaced_leaves_the_newer_note_alone(tmp_path):
    with record_stage(tmp_path, "train", "new"):
        with pytest.raises(LeaseLost), record_stage(tmp_path, "train", "old"):
            with record_stage(tmp_path, "train", "new"):
                pass
            raise LeaseLost("was taken over")
        assert status.read(tmp_path).launch == "new" and status.read(tmp_path).state == "finished"


def test_a_rank_that_failed_is_not_excused_by_those_who_miss_it(tmp_path, monkeypatch):
    with pytest.raises(LostRank), record_stage(tmp_path, "train", "a"):
        monkeypatch.setenv("RANK", "1")
        with pytest.raises(UserError), record_stage(tmp_path, "train", "a"):
            raise UserError("is bad")
        monkeypatch.setenv("RANK", "0")
        raise LostRank("rank 0: another rank ended")
    assert status.read(tmp_path).state == "failed" and status.read(tmp_path).why == "is bad"


def test_a_stage_that_had_nothing_left_to_do_is_finished(tmp_path):
    with pytest.raises(Interrupted), record_stage(tmp_path, "train", "a"):
        raise Interrupted("finished, and stopped before anything else")
    mark_finished(tmp_path, "train")
    assert status.read(tmp_path).state == "finished"
    before = (tmp_path / status.NAME).stat().st_mtime_ns
    mark_finished(tmp_path, "train")
    assert (tmp_path / status.NAME).stat().st_mtime_ns == before


def test_what_an_older_version_wrote_is_read_and_what_is_damaged_is_named(tmp_path):
    (tmp_path / status.NAME).write_text('{"stage": "train", "state": "running", "host": "n", "job": null, "more": 1}')
    assert status.read(tmp_path) == status.Status(stage="train", state="running", host="n")
    (tmp_path / status.NAME).write_text('{"stage": "train", "state": 3}')
    with pytest.raises(UserError, match=r"status\.json: state: is not a status of a run: 3 is not text; delete it"):
        status.read(tmp_path)


def test_the_keys_and_their_order_are_those_of_before(tmp_path):
    with record_stage(tmp_path, "train", "a"):
        pass
    keys = ["stage", "state", "why", "launch", "host", "process", "ranks", "job", "began", "ended"]
    assert list(json.loads((tmp_path / status.NAME).read_text())) == keys


def test_a_start_that_was_killed_is_interrupted_and_one_that_runs_is_not(tmp_path):
    code = "import os, sys; from pathlib import Path; from trainer.runs.status import record_stage\n"
    code += "with record_stage(Path(sys.argv[1]), 'train', 'a'):\n    print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert status.current(tmp_path).state == "running"
        process.kill()
    assert status.read(tmp_path).state == "running", "nobody could record the end"
    assert status.current(tmp_path).state == "interrupted"
    assert status.current(tmp_path).why.startswith(f"killed: process {process.pid} on ")
    path = tmp_path / status.NAME
    text = path.read_text()
    path.write_text(text.replace('"boot": "', '"boot": "another'))
    assert status.current(tmp_path).state == "running", "another machine cannot tell"
    path.write_text(text.replace('"pid": ', '"number": '))
    assert status.current(tmp_path).state == "running", "it is not known which process it was"
    path.write_text(text.replace('"stage": "train"', '"stage": "label"'))
    assert status.current(tmp_path).state == "running", "other launches may label the same frames"
