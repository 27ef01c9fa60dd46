"""Extras: the distribution declares those that errors name, and a missing one is an error of one line."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.extras import EXTRAS, installed, need

DEVELOPERS = ("test", "docs", "lint")
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_extras_are_those_of_the_distribution():
    declared = PROJECT["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        assert {re.split(r"[<>=]", requirement)[0] for requirement in declared[extra]} == {*modules}
    (all_requirement,) = declared["all"]
    assert {*all_requirement.removeprefix("tutelage[").removesuffix("]").split(",")} == {*EXTRAS, "weights"}
    assert {*declared} == {*EXTRAS, "weights", "all", *DEVELOPERS}


def test_what_is_missing_is_said_with_what_installs_it(monkeypatch):
    need("report", *EXTRAS["report"])
    for name in ("matplotlib", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)  # None blocks the import
    with pytest.raises(UserError) as caught:
        need("report", *EXTRAS["report"])
    assert str(caught.value) == "report: needs jinja2, matplotlib; pip install 'tutelage[report]'"
    assert not installed("matplotlib") and not installed("no_such_module") and installed("json")
