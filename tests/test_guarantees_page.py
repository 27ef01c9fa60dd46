"""``docs/guarantees.md`` against the tests: the files and functions that it names exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
LINES = (TESTS.parent / "docs" / "guarantees.md").read_text(encoding="utf-8").splitlines()
FILE = re.compile(r"[\w/]*\btest_\w+\.py")
FUNCTION = re.compile(r"\btest_\w+\b(?!\.py)")
FILES = sorted({name for line in LINES for name in FILE.findall(line)})
FUNCTIONS = [(line, name) for line in LINES for name in FUNCTION.findall(line)]


def functions(line: str) -> set[str]:
    """The test functions of the files that a line of the page names."""
    nodes = [node for name in FILE.findall(line) for node in ast.walk(ast.parse((TESTS / name).read_text("utf-8")))]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_guarantee_names_a_test():
    guarantees = [line for line in LINES if re.match(r"\| (?!guarantee \|)", line)]
    assert len(guarantees) > 30 and all(FILE.search(line) for line in guarantees)


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_there_and_holds_tests(name):
    assert functions(name)


def test_functions_are_in_a_file_of_their_line():
    assert [name for line, name in FUNCTIONS if name not in functions(line)] == []
