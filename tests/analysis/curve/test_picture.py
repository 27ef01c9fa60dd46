"""The picture of a label curve: complete, without a background, the same for the same curve."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from labelcurves import label_curve
from PIL import Image

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point
from analysis.curve.picture import draw


def luminance(colour: np.ndarray) -> np.ndarray:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_it_can_be_read_on_white_and_on_dark(tmp_path):
    draw(label_curve(), tmp_path / "curve.png")
    picture = np.asarray(Image.open(tmp_path / "curve.png").convert("RGBA")) / 255
    alpha, colours = picture[..., 3], picture[picture[..., 3] == 1][:, :3]
    assert (alpha[0] == 0).all() and (alpha == 0).mean() > 0.7 and len(colours) > 2000
    light = luminance(colours)
    for ground in (np.array([1, 1, 1]), np.array([0x0D, 0x11, 0x17]) / 255):
        ratio = (np.maximum(light, luminance(ground)) + 0.05) / (np.minimum(light, luminance(ground)) + 0.05)
        assert ratio.min() > 2.9, "of WCAG's contrast, which asks for 3 of graphics"


def test_the_same_curve_gives_the_same_svg(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw(label_curve(), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    ElementTree.parse(tmp_path / "a.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]


def test_the_axis_says_how_many_seeds_there_are(tmp_path):
    """Networks of one curve may have several numbers of seeds."""
    found = []
    for counts in ((1, 1), (3, 3), (3, 5)):
        points = tuple(
            Point(number, baseline=dict.fromkeys(range(count), 0.1))
            for number, count in zip((25, 50), counts, strict=True)
        )
        metric = MetricCurve("semseg", "miou", "student", "baseline", "teacher", points)
        draw(
            LabelCurve("data", "semseg", "student", (25, 50), tuple(range(max(counts))), (metric,)), tmp_path / "c.svg"
        )
        found.append(re.findall("one seed|over .* seeds", (tmp_path / "c.svg").read_text()))
    assert found == [["one seed"], ["over 3 seeds"], ["over 3 to 5 seeds"]]


def test_the_values_decide_what_is_drawn(tmp_path):
    draw(label_curve(), tmp_path / "a.svg")
    curve = label_curve()
    fewer = LabelCurve(curve.dataset, curve.task, curve.student, curve.labels, curve.seeds, curve.curves[:1])
    draw(fewer, tmp_path / "b.svg")
    texts = [(tmp_path / name).read_text() for name in ("a.svg", "b.svg")]
    assert [text.count('id="axes_') for text in texts] == [2, 1]
    with pytest.raises(ValueError, match="without metrics"):
        draw(LabelCurve("d", "t", "s", (1,), (0,), ()), tmp_path / "c.svg")
