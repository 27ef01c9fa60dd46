"""The declared facts of options, which no other place repeats."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import documentation, values_in_words
from trainer.configfile import shared_overrides
from trainer.model.network import NETWORKS
from trainer.option import Facts, facts, is_in, matches, names, option, values
from trainer.parsing import parse_size
from trainer.sections import Train
from trainer.setting import decisive
from trainer.weighting import FIXED, WEIGHTINGS

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Inner:
    size: str | None = option(None, check=parse_size)
    share: float = option(0.5, least=0, most=1, wrong="is not a share", former="part")
    kept: bool = option(True, decides=True)


@dataclass
class Outer:
    needed: str = option("???", path=True)
    how: str = option("a", choices=("a", "b"), custom=True)
    inner: Inner = option(factory=Inner, decides=False, inherited=False)
    budgets: dict[str, int | None] = option(factory=dict, least=0)
    entries: dict[str, Inner] = option(factory=dict, row=True)
    plain: int = 3
    many: list[int] = field(default_factory=list)


def test_facts_stand_by_dotted_name_and_those_of_a_section_hold_in_it():
    declared = facts(Outer)
    assert [*declared] == [
        *("needed", "how", "inner", "inner.size", "inner.share", "inner.kept", "budgets", "budgets.TASK"),
        *("entries", "entries.TASK", "entries.TASK.size", "entries.TASK.share", "entries.TASK.kept", "plain", "many"),
    ]
    assert (declared["inner.size"].decides, declared["inner.kept"].decides, declared["inner.kept"].inherited) == (
        *(False, True),
        False,
    )
    assert declared["entries.TASK.size"].decides and declared["plain"] == Facts(decides=True, inherited=True)
    assert names(Outer, lambda entry: not entry.inherited) == ("inner",), "a section stands for all that is in it"
    assert names(Outer, lambda entry: entry.row) == ("entries",)
    assert names(Outer, lambda entry: entry.check) == ("inner.size", "entries.TASK.size")


def test_a_structured_configuration_has_the_defaults_and_its_values_are_found_with_their_facts():
    config = OmegaConf.merge(OmegaConf.structured(Outer), {"budgets": {"x": 2}, "entries": {"y": {"share": 1}}})
    settings = {key: value for key, value, _ in values(Outer, config)}
    assert settings == {
        **{"how": "a", "inner": config.inner, "inner.size": None, "inner.share": 0.5, "inner.kept": True},
        **{"budgets.x": 2, "entries.y": config.entries.y, "entries.y.size": None, "entries.y.share": 1.0},
        **{"entries.y.kept": True, "plain": 3, "many": []},
    }, "what is not set is left out"


@pytest.mark.parametrize(
    ("declared", "wrong", "right", "message"),
    [
        (Facts(choices=("a", None)), "b", "a", ("'b' is unknown", "use one of a, null")),
        (
            Facts(choices=("a",), custom=True),
            "b",
            "m:N",
            ("'b' is unknown", "use a, or my.module:Name for a class of your"),
        ),
        (Facts(least=1), 0, 1, ("0 is less than 1", "give 1 or more")),
        (Facts(least=0, below=2**63), 2**63, 2**63 - 1, (f"{2**63} is too large", "give less than 2^63")),
        (Facts(least=0, most=1, wrong="is not a share"), 1.5, 1, ("1.5 is not a share", "give 0 to 1")),
        (Facts(above=0, wrong="is not a norm", give="more than 0"), 0, None, ("0 is not a norm", "give more than 0")),
        (Facts(least=0), float("nan"), None, ("nan is less than 0", "give 0 or more")),
        (Facts(above=0), 0, 1, ("0 is out of range", "give more than 0")),
        (Facts(above=0, below=1), 1, 0.5, ("1 is out of range", "give more than 0 and less than 1")),
        (Facts(most=3), 4, 3, ("4 is out of range", "give at most 3")),
        (Facts(least=0, most=3), 4, 3, ("4 is too large", "give 3 or less")),
    ],
)
def test_choices_and_ranges_say_what_is_wrong(declared, wrong, right, message):
    assert declared.problem(right) is None
    problem, hint = declared.problem(wrong) or ("", "")
    assert (problem, hint.startswith(message[1])) == (message[0], True)
    assert declared.allowed


def test_names_with_a_task_stand_for_any():
    assert matches("pseudo.depth.teacher", "pseudo.TASK.teacher") and not matches("pseudo.depth", "pseudo.TASK.teacher")
    assert is_in("loss.weights.depth", ("loss",)) and not is_in("losses", ("loss",))


def test_choices_are_those_that_there_are():
    declared = facts(Config)
    assert {*declared["model.name"].choices} == {*NETWORKS}
    assert {*declared["loss.weighting"].choices} == {FIXED, *WEIGHTINGS}


def test_what_decides_and_what_is_inherited_follows_from_the_declarations():
    assert decisive({"train": {"trace": True, "lr": 1}, "evaluate": {"every": 3}}) == {"train.lr": 1}
    assert names(Train, lambda entry: not entry.decides) == (
        *("gradient_accumulation_steps", "timeout", "trace", "log_every"),
    )
    assert shared_overrides(["loss.deep=1", "loss={deep: 1}", "run.path=x", "run.root=y"]) == ["run.root=y"]


def test_every_option_says_its_default_and_range_where_it_is_explained():
    words = values_in_words()
    assert words.keys() == documentation().keys()
    assert words["train.precision"] == "fp32; one of fp32, bf16, fp16"
    assert (
        words["data.num_workers"] == "1; 0 or more" and words["data.path"] == "" and words["labels.TASK"] == "0 or more"
    )
    assert words["pseudo.TASK.weight"] == "none; one of none, confidence"


def _strings(node: ast.AST) -> Iterator[str]:
    """Yield the strings in a literal collection, as elements or as keys."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        listed: list[ast.expr | None] = [*node.elts]
        listed += [inner for item in node.elts if isinstance(item, ast.Starred) for inner in ast.walk(item.value)]  # type: ignore[misc]
    elif isinstance(node, ast.Dict):
        listed = [*node.keys]
    else:
        return
    yield from (item.value for item in listed if isinstance(item, ast.Constant) and isinstance(item.value, str))


def test_no_other_place_lists_options():
    """Three dotted names in one literal are a list of options, which should be a declared fact instead."""
    known = {name for name in facts(Config) if "." in name}
    lists = []
    for package in ("shards", "trainer", "analysis", "launchers", "tutelage"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                named = {*_strings(node)} & known
                if len(named) > 2:
                    lists.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}: {sorted(named)}")  # type: ignore[attr-defined]
    assert not lists


def test_a_wrong_form_names_the_option():
    with pytest.raises(UserError, match="'big' is not a size"):
        facts(Outer)["inner.size"].check("big", "inner.size")  # type: ignore[misc]
