"""A UserError is one line, also when it comes from another process."""

import pickle
from pathlib import Path

from shards.errors import UserError


def test_the_line_has_the_parts_that_are_known():
    assert str(UserError("is torn")) == "is torn"
    assert str(UserError("is torn", key="k")) == "k: is torn"
    error = UserError("is torn", file=Path("a.tar"), key="k.png", hint="draw it again")
    assert str(error) == "a.tar: k.png: is torn; draw it again"


def test_it_travels_between_processes():
    error = UserError("is torn", file=Path("a.tar"), key="k", hint="draw it again")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(copy) == str(error)
    assert (copy.what, copy.file, copy.key, copy.hint) == ("is torn", Path("a.tar"), "k", "draw it again")
