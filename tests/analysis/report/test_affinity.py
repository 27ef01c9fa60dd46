"""The matrix of a task affinity in a report: its words and colours follow from the verdicts."""

import json

import pytest

from analysis.report.collect import collect
from analysis.report.page import render


@pytest.mark.parametrize(
    ("helps", "bounds", "style", "answer"),
    [
        (True, (0.1, 0.5), "helps", "helps"),
        (None, (0.1, 0.5), "open", "undetermined"),  # beyond zero alone, and not after Holm's correction
        (None, (-0.5, -0.1), "open", "undetermined"),
        (False, (-0.5, -0.1), "harms", "harms"),
        (False, (-0.1, 0.005), "open", "does not help"),
        (False, (0.001, 0.005), "open", "does not help"),  # too little to matter
        (None, (None, None), "open", "undetermined"),
    ],
)
def test_a_colour_says_what_the_verdict_does(tmp_path, helps, bounds, style, answer):
    relative = {"mean": 0.0, "low": bounds[0], "high": bounds[1]}
    gain = {"source": "depth", "target": "semseg", "helps": helps, "relative": relative}
    (tmp_path / "affinity.json").write_text(
        json.dumps({"seeds": [0, 1, 2], "gains": [gain], "verdicts": [], "recommended": {}})
    )
    contents = collect([tmp_path])
    (cell,) = [cell for row in contents.affinities[0].cells for cell in row if cell]
    assert (cell.style, cell.answer) == (style, answer)
    assert f'<td class="{style}"><strong>+0.0 %' in render(contents, 1)
