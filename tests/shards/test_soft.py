"""Soft labels as they are stored: no mass is invented, and what is read back is what was written."""

import io

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.soft import STEPS, decode_soft, encode_soft, quantise
from shards.tasks import Task, palette

SEMSEG = Task("semseg", "classes", tuple("abcdefg"), palette(7))


def top(kept: int, shape: tuple[int, int] = (6, 9)) -> tuple[np.ndarray, np.ndarray]:
    """A soft label, and the probabilities of all classes that it was made of."""
    p = np.random.default_rng(kept).dirichlet([0.2] * 7, shape)
    named = np.argsort(-p, -1)[..., :kept].astype(np.uint8)
    return quantise(named, np.take_along_axis(p, named.astype(int), -1)), p


@pytest.mark.parametrize("kept", [1, 2, 4, 7])
def test_stored_probabilities_are_close_to_the_given_ones_and_add_up(kept):
    soft, p = top(kept)
    named, steps = soft[..., :kept].astype(int), soft[..., kept:]
    assert np.abs(steps / STEPS - np.take_along_axis(p, named, -1)).max() <= 1 / STEPS
    rest = 1 - np.take_along_axis(p, named, -1).sum(-1)
    assert np.abs((STEPS - steps.sum(-1, dtype=int)) / STEPS - rest).max() <= 0.5 / STEPS + 1e-9
    if kept == 7:
        assert (steps.sum(-1, dtype=int) == STEPS).all()


@pytest.mark.parametrize("kept", [1, 3])
def test_a_member_reads_back_as_it_was(kept):
    soft, _ = top(kept)
    assert np.array_equal(decode_soft(SEMSEG, encode_soft(soft), kept), soft)
    image = Image.open(io.BytesIO(encode_soft(soft)))  # whoever reads shards without this project finds planes
    assert (image.mode, image.size) == ("L", (9, 2 * kept * 6))
    assert np.array_equal(np.asarray(image)[:6], soft[..., 0])


@pytest.mark.parametrize(
    ("soft", "what"),
    [
        (np.full((2, 2, 4), 7, np.uint8), "names a class over 6"),
        (np.full((2, 2, 4), (0, 1, 200, 100), np.uint8), "probabilities over 1"),
        (np.zeros((2, 2, 3), np.uint8), "not 4 planes"),
    ],
)
def test_what_is_no_distribution_is_refused(soft, what):
    with pytest.raises(UserError, match=what):
        decode_soft(SEMSEG, encode_soft(soft), 2)


def test_another_image_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 8)).save(buffer, "PNG")
    with pytest.raises(UserError, match="is a RGB image of 8 rows, not 4 planes of 8 bits"):
        decode_soft(SEMSEG, buffer.getvalue(), 2)
