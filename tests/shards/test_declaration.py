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
