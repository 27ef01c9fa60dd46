"""What a run writes down, and what is left of it when a killed run continues."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.runs.records import Lines, Records, read


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_run_that_continues_cuts_what_came_after_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = Lines(path, 0)
    for step in (2, 4, 4, 6, 8):
        lines.write({"step": step})
    lines.close()
    Lines(path, 4).close()
    assert steps(path) == [2, 4, 4]
    lines = Lines(path, 4)
    lines.write({"step": 6})
    lines.close()
    assert steps(path) == [2, 4, 4, 6]
    Lines(path, 0).close()
    assert path.read_text() == ""


def test_half_a_line_of_a_killed_process_goes(tmp_path):
    path = tmp_path / "order.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    lines = Lines(path, 10)
    lines.write({"step": 3})
    lines.close()
    assert steps(path) == [1, 2, 3]


def test_a_line_stands_in_the_file_at_once(tmp_path):
    lines = Lines(tmp_path / "metrics.jsonl", 0)
    lines.write({"step": 1})
    assert steps(tmp_path / "metrics.jsonl") == [1], "not only when the file is closed"
    lines.close()


def test_records_write_lines_events_and_the_order_if_it_is_wanted(tmp_path):
    for folder, trace in ((tmp_path / "with", True), (tmp_path / "without", False)):
        folder.mkdir()
        records = Records(folder, 0, trace)
        records.write_metrics(5, {"lr": 0.5, "loss": {"total": 2, "depth": None}, "iou": [1, 2]})
        records.write_keys(5, 1, ["a", "b"])
        records.close()
        assert json.loads((folder / "metrics.jsonl").read_text())["loss"] == {"total": 2, "depth": None}
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        assert sorted(events.Tags()["scalars"]) == ["loss/total", "lr"]
        assert events.Scalars("lr")[0].step == 5
    assert json.loads((tmp_path / "with/order.jsonl").read_text()) == {"step": 5, "epoch": 1, "keys": ["a", "b"]}
    assert not (tmp_path / "without/order.jsonl").exists()


@pytest.mark.parametrize("damage", [b"\0\0\0\0\n", b"\xff\xfe\n", b"{}\n", b"3\n"])
def test_a_line_that_a_crash_damaged_ends_the_file(tmp_path, damage):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'{"step": 2}\n')
    assert [line["step"] for line in read(path)] == [1]
    Lines(path, 10).close()
    assert steps(path) == [1]
