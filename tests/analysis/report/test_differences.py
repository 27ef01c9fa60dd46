"""Where two networks differ, and the outline of these pixels."""

import re

import numpy as np
import pytest
from tiny import DEPTH, NORMALS, SEMSEG

from analysis.report.differences import outline


def polygons(path: str) -> list[np.ndarray]:
    return [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", part), float) for part in path.split("M")[1:]]


def test_what_differs_by_kind():
    assert SEMSEG.storage.differ(np.array([[0, 1]]), np.array([[0, 2]])).tolist() == [[False, True]]
    assert DEPTH.storage.differ(np.array([[1.0, 1.0, 0.0]]), np.array([[1.2, 1.3, 0.0]])).tolist() == [
        [False, True, False]
    ]
    turned = [[[0, np.sin(a), np.cos(a)] for a in np.radians([0, 20, 25, 180])]]
    assert NORMALS.storage.differ(np.array(turned), np.array([[[0, 0, 1]] * 4])).tolist() == [
        [False, False, True, True]
    ]


@pytest.mark.parametrize("scale", [1, 5])
def test_a_place_is_outlined_where_it_is_and_specks_are_not(scale):
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = True
    mask[50, 70] = True
    outlines = polygons(outline(np.kron(mask, np.ones((scale, scale), bool))))
    assert len(outlines) == 1
    low, high = outlines[0].min(0) / scale, outlines[0].max(0) / scale
    assert np.abs(low - (20, 10)).max() < 0.75 and np.abs(high - (50, 30)).max() < 0.75


def test_a_place_at_the_edge_is_closed():
    outlines = polygons(outline(np.ones((30, 40), bool)))
    assert len(outlines) == 1 and outlines[0].min() >= -0.5 and (outlines[0].max(0) <= (40.5, 30.5)).all()


def test_no_difference_has_no_outline():
    assert outline(np.zeros((30, 40), bool)) == ""
