"""Dataclasses as JSON files: writing, reading, and the errors for values of another form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from shards.errors import UserError
from shards.schema import from_json, not_stored, omit_default, to_json


@dataclass(frozen=True)
class Part:
    low: float | None
    way: Literal["up", "down"] = "up"


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str
    size: tuple[int, int] | None = None
    origin: str | bool | None = None
    parts: list[Part] = field(default_factory=list)
    values: Mapping[str, float] = field(default_factory=dict)
    by_number: Mapping[int, float] = field(default_factory=dict)
    anything: Any = None
    rare: int | None = omit_default(None)
    folder: str = not_stored(default="")


WHOLE = Whole(
    name="a",
    size=(3, 4),
    origin=False,
    parts=[Part(None), Part(1, "down")],
    values={"x": 0.5},
    by_number={3: 1},
    folder="f",
)
JSON = {
    "name": "a",
    "size": [3, 4],
    "origin": False,
    "parts": [{"low": None, "way": "up"}, {"low": 1, "way": "down"}],
    "values": {"x": 0.5},
    "by_number": {"3": 1},
    "anything": None,
}


def parse(entry: Any) -> Whole:
    return from_json(Whole, entry, "is not a whole", "w.json", "make it again")


def test_it_is_written_in_the_order_of_its_fields_without_what_is_beside_it():
    assert to_json(WHOLE) == JSON and list(to_json(WHOLE)) == list(JSON)
    assert to_json(Whole(name="a", rare=3))["rare"] == 3


def test_it_is_read_back_and_what_is_missing_or_more_does_no_harm():
    assert parse(JSON) == Whole(**{**vars(WHOLE), "folder": ""})
    assert parse({"name": "a"}) == Whole(name="a")
    assert parse({"name": "a", "folder": "elsewhere", "of tomorrow": [1]}) == Whole(name="a")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([], "w.json: is not a whole: [] is not a mapping; make it again"),
        ({}, "w.json: name: is not a whole: it is missing; make it again"),
        ({"name": 3}, "w.json: name: is not a whole: 3 is not text; make it again"),
        ({"size": [3, 4, 5]}, "w.json: size: is not a whole: [3, 4, 5] is not a list of 2; make it again"),
        ({"size": [3, 0.5]}, "w.json: size.1: is not a whole: 0.5 is not an integer; make it again"),
        ({"rare": True}, "w.json: rare: is not a whole: True is not an integer; make it again"),
        ({"origin": 3}, "w.json: origin: is not a whole: 3 is not true or false; make it again"),
        ({"parts": [{"low": 1}, {}]}, "w.json: parts.1.low: is not a whole: it is missing; make it again"),
        (
            {"parts": [{"low": 1, "way": "on"}]},
            "w.json: parts.0.way: is not a whole: 'on' is not up or down; make it again",
        ),
        ({"by_number": {"-1": 1}}, "w.json: by_number: is not a whole: '-1' is not an integer; make it again"),
        ({"values": {"x": "1"}}, "w.json: values.x: is not a whole: '1' is not a number; make it again"),
        (
            {"values": [0] * 99},
            f"w.json: values: is not a whole: {str([0] * 99)[:37]}... is not a mapping; make it again",
        ),
    ],
)
def test_another_form_is_named_by_its_key(entry, said):
    with pytest.raises(UserError) as caught:
        parse({"name": "a"} | entry if isinstance(entry, dict) and entry else entry)
    assert str(caught.value) == said
