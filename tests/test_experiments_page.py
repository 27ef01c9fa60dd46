"""``docs/experiments.md`` against the shipped configurations: its rows, and what it says that they are shipped with."""

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
    """The cells of all lines of tables but their titles."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    titles = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for number, line in enumerate(lines) if not {number, number - 1} & titles]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows]


def section(title: str) -> list[list[str]]:
    """The cells of the tables of a section."""
    return table(PAGE.partition(title)[2].partition("\n## ")[0])


def expected(path: Path) -> list[str]:
    """What the table of rows has to say of a configuration, but for the words about its labels."""
    config = load(path)
    fused = "-" if config.model.fusion == "early" else "+"
    inputs = fused.join(LETTERS[name] for name in config.inputs) + (", one branch" if fused == "-" else "")
    frames = []
    seen = [name for name in config.inputs if name != "rgb"]
    for task in ("depth", "semseg"):
        # A frame lacks no input and at least one target, so that inputs and targets are seen on the frames of both.
        budgets = [config.labels[name] for name in {*seen, task, *(config.tasks if seen else ())}]
        count = f"{min(budgets)}"
        if task in config.pseudo:
            count += f" + {config.frames - min(budgets)}"
        elif task not in config.tasks:
            count = f"{count}, as input" if task in seen else "–"
        frames.append(count)
    outputs = "+".join(LETTERS[task] for task in config.tasks)
    decoder = {"mti": "MTI", "heads": "heads"}[config.model.decoder]
    return [f"`{path.stem}`", inputs, outputs, decoder, *frames]


def test_every_row_stands_in_the_table_as_it_is_shipped():
    shown = [row[:4] + row[5:] for row in section(_ROWS)]
    assert sorted(shown) == sorted(expected(path) for path in rows_of(NYUDV2))


def test_a_student_names_its_teacher_and_a_copy_its_normalisation():
    words = {row[0].strip("`"): row[4] for row in section(_ROWS)}
    for path in rows_of(NYUDV2):
        config = load(path)
        teachers = {Path(entry.teacher).stem for entry in config.pseudo.values()}
        said = words[path.stem]
        assert set(re.findall(r"from `([\w-]+)`", said)) == teachers, path.stem
        assert ("loss.normalise: all" in said) == (config.loss.normalise == "all"), path.stem


@pytest.fixture(scope="module")
def choices() -> list[list[str]]:
    return section(_SECTION)


def test_every_choice_is_called_what_it_is(choices):
    assert len(choices) > 40
    for paper, here, verdict, why in choices:
        assert paper and here and verdict in ("same", "reading", "deviation")
        assert why or verdict == "same", f"no reason: {here}"


def test_what_is_said_to_be_shipped_is(choices):
    """Of NYUDv2, in the form ``KEY=VALUE``."""
    shipped = load(NYUDV2 / "base.yaml")
    named = [found for row in choices for found in re.findall(r"`([\w.]+)=([^`]+)`", row[1])]
    assert len(named) > 15
    for key, value in named:
        assert load(NYUDV2 / "base.yaml", [f"{key}={value}"]) == shipped, f"{key}={value}"
