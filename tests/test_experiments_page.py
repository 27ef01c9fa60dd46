"""``docs/experiments.md`` against the shipped configurations: its rows, and the options that it states."""

import re
from pathlib import Path

import pytest

from analysis.grid import rows_of
from trainer.configfile import load

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
NYUDV2 = ROOT / "configs" / "nyudv2"
LETTERS = {"rgb": "RGB", "semseg": "S", "depth": "D"}
_ROWS = "\n## The paper's rows\n"
_SECTION = "\n## What the paper says, and what is here\n"


def table(text: str) -> list[list[str]]:
    """The cells of all table lines except the titles."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    titles = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for number, line in enumerate(lines) if not {number, number - 1} & titles]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows]


def section(title: str) -> list[list[str]]:
    """The cells of the tables of a section."""
    return table(PAGE.partition(title)[2].partition("\n## ")[0])


def expected(path: Path) -> list[str]:
    """The expected cells of a configuration in the table of rows, without the text about its labels."""
    config = load(path)
    fused = "-" if config.model.fusion == "early" else "+"
    inputs = fused.join(LETTERS[name] for name in config.inputs) + (", one branch" if fused == "-" else "")
    frames = []
    input_tasks = [name for name in config.inputs if name != "rgb"]
    for task in ("depth", "semseg"):
        # A frame lacks no input and at least one target, so that inputs and targets are seen on the frames of both.
        budgets = [config.labels[name] for name in {*input_tasks, task, *(config.tasks if input_tasks else ())}]
        count = f"{min(budgets)}"
        if task in config.pseudo:
            count += f" + {config.frames - min(budgets)}"
        elif task not in config.tasks:
            count = f"{count}, as input" if task in input_tasks else "–"
        frames.append(count)
    outputs = "+".join(LETTERS[task] for task in config.tasks)
    decoder = {"mti": "MTI", "heads": "heads"}[config.model.decoder]
    return [f"`{path.stem}`", inputs, outputs, decoder, *frames]


def test_every_row_stands_in_the_table_as_it_is_shipped():
    rows = [row[:4] + row[5:] for row in section(_ROWS)]
    assert sorted(rows) == sorted(expected(path) for path in rows_of(NYUDV2))


def test_a_student_names_its_teacher_and_a_copy_its_normalisation():
    label_texts = {row[0].strip("`"): row[4] for row in section(_ROWS)}
    for path in rows_of(NYUDV2):
        config = load(path)
        teachers = {Path(entry.teacher).stem for entry in config.pseudo.values()}
        text = label_texts[path.stem]
        assert set(re.findall(r"from `([\w-]+)`", text)) == teachers, path.stem
        assert ("loss.normalise: all" in text) == (config.loss.normalise == "all"), path.stem


@pytest.fixture(scope="module")
def choices() -> list[list[str]]:
    return section(_SECTION)


def test_every_choice_is_called_what_it_is(choices):
    assert len(choices) > 40
    for paper, choice, verdict, reason in choices:
        assert paper and choice and verdict in ("same", "reading", "deviation")
        assert reason or verdict == "same", f"no reason: {choice}"


def test_what_is_said_to_be_shipped_is(choices):
    """Options of NYUDv2, in the form ``KEY=VALUE``."""
    shipped = load(NYUDV2 / "base.yaml")
    settings = [setting for row in choices for setting in re.findall(r"`([\w.]+)=([^`]+)`", row[1])]
    assert len(settings) > 15
    for key, value in settings:
        assert load(NYUDV2 / "base.yaml", [f"{key}={value}"]) == shipped, f"{key}={value}"
