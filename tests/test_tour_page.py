"""``docs/tour.md`` against the code: every name in it is defined in a file that it links to."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
NAMED = sorted({name for name in re.findall(r"`([A-Z]\w*(?:\.\w+)?|[a-z]+_[a-z_]+)`", PAGE) if not name.isupper()})


@cache
def definitions() -> set[str]:
    """The classes, their members, and the functions of the linked files."""
    names: set[str] = set()
    for path in set(re.findall(r"\]\(\.\./([\w/]+\.py)\)", PAGE)):
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                members = [m.name for m in node.body if isinstance(m, ast.FunctionDef)]
                members += [m.target.id for m in node.body if isinstance(m, ast.AnnAssign)]
                names |= {node.name, *(f"{node.name}.{member}" for member in members)}
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name)
    return names


def test_the_page_names_something():
    assert len(NAMED) > 40


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_defined_in_a_linked_file(name):
    assert name in definitions()
