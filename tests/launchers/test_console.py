"""The library reports to its logger; a command shows these reports as lines on standard output."""

import logging
import re

import pytest

from launchers.cli import main
from launchers.console import show_reports
from shards.log import logger
from trainer.progress import progress


def report() -> None:
    """Log messages and progress as the library does."""
    logger.info("a line that is longer than a terminal is wide: %s", "x" * 100)
    logger.warning("note: 100 % of [it] :car:")
    with progress("job", 2) as step:
        step(1, "a figure")
        step(1)


def test_reports_are_shown_as_lines(capsys):
    with show_reports():
        report()
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[:2] == [f"a line that is longer than a terminal is wide: {'x' * 100}", "note: 100 % of [it] :car:"]
    assert lines[2:] == ["job 2/2 a figure 0:00:00 left"] and not captured.err


def test_other_ranks_show_no_messages(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with show_reports():
        logger.error("the same on every rank")
    captured = capsys.readouterr()
    assert not captured.out and not captured.err


def test_an_unexpected_error_is_a_line_and_a_traceback(capsys):
    with show_reports():
        try:
            raise ValueError("a bug")
        except ValueError as error:
            logger.error("it failed", exc_info=error)
    captured = capsys.readouterr()
    assert captured.out == "it failed\n"
    assert captured.err.startswith("Traceback") and captured.err.endswith("ValueError: a bug\n")


def test_nothing_is_shown_outside_of_a_command(capsys):
    before = logger.level, logger.propagate, [*logger.handlers]
    with pytest.raises(KeyError), show_reports():
        raise KeyError
    assert (logger.level, logger.propagate, [*logger.handlers]) == before
    report()
    assert capsys.readouterr().out == ""


def test_other_loggers_print_nothing_twice(capsys, monkeypatch):
    """A user's own module may call ``logging.basicConfig``, within a command."""
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with show_reports():
        logger.warning("once")
    captured = capsys.readouterr()
    assert captured.out == "once\n" and not captured.err


def test_commands_show_what_the_library_reports(workdir, capsys):
    assert main(["train", "teacher.yaml", "train.steps=2", "checkpoint.every=1"]) == 0
    captured = capsys.readouterr()
    size, progress_line, last_line = captured.out.splitlines()
    assert re.match(r"teacher: .* M parameters in the backbone", size)
    assert re.match(r"teacher 2/2 semseg \d.* samples/s · .* 0:00:00 left$", progress_line)
    assert last_line == "trained: runs/scenes/teacher/seed-0/checkpoints/last"
    assert not captured.err
