"""Values of ``dataset.yaml``: numbers as people write them, and which are refused."""

import pytest
from warehouse import declare

from shards.errors import UserError
from shards.sources.folder import Folder

HUGE = "1" + 400 * "0"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        *[(f"scale: {x}", "scale is not a finite number; give the value of") for x in (".inf", ".nan", HUGE, "yes")],
        ("scale: 1, invalid: .nan", r"invalid nan is not a list of numbers; .*\[65535\]; NaN and infinity always do"),
        ("scale: 1, invalid: [0, .inf]", r"invalid \[0, inf\] is not a list of numbers"),
        ("scale: 1, range: [0.1, .inf]", r"range \[0.1, inf\] is not \[smallest, largest\]; .* 0 or a large number"),
        ("scale: 1, range: [.nan, 1]", r"range \[nan, 1\] is not \[smallest, largest\]"),
        ("scale: 1, range: [null, 1]", r"range \[None, 1\] is not \[smallest, largest\]"),
    ],
)
def test_numbers_that_are_not_finite_are_an_error_that_names_file_and_task(root, entry, message):
    declare(root, f"tasks: {{depth: {{kind: scalar, {entry}}}}}")
    with pytest.raises(UserError, match=rf"dataset\.yaml: tasks\.depth: {message}"):
        Folder(root)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "1.0e-3", "+1e-3", "10e-4", "0.001", ".1e-2"])
def test_a_number_may_have_an_exponent(root, text):
    declare(root, f"tasks: {{depth: {{kind: scalar, scale: {text}, invalid: [1e10, -1E+4, 5e4], range: [1e-1, 6e1]}}}}")
    source = Folder(root)
    assert source.tasks[0].scale == 0.001
    assert source.options["stored"]["depth"] == {"invalid": [1e10, -1e4, 5e4], "range": [0.1, 60]}


def test_a_name_that_looks_like_a_number_with_an_exponent_may_be_quoted(root):
    declare(root, "tasks: {semseg: {kind: classes, classes: ['1e3', 1e, e3, 1e3x]}}")
    assert Folder(root).tasks[0].classes == ("1e3", "1e", "e3", "1e3x")


def test_an_entry_may_be_merged_into_others(root):
    declare(
        root,
        """
        tasks:
          depth: &metric {kind: scalar, zoom: divide, scale: 0.001, range: [0.1, 60]}
          near: &near {<<: *metric, files: "depth/{name}", range: [0.1, 2]}
          far: {<<: *near, range: [2, 60], invalid: 9}
        """,
    )
    near, far = {"range": [0.1, 2]}, {"range": [2, 60], "invalid": [9]}
    assert Folder(root).options["stored"] == {"depth": {"range": [0.1, 60]}, "near": near, "far": far}


@pytest.mark.parametrize(
    "entry", ["scale: 1, scale: 1", "<<: {scale: 1}, range: [0, 1], range: [0, 1]", "1: 1, 1.0: 1"]
)
def test_a_key_that_occurs_twice_is_an_error(root, entry):
    declare(root, f"tasks: {{depth: {{kind: scalar, {entry}}}}}")
    with pytest.raises(UserError, match=r"dataset\.yaml: cannot be read as YAML \(.* occurs twice"):
        Folder(root)
