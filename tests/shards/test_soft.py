"""Stored soft labels: probabilities keep their sum, and decoding returns what was encoded."""

import io

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.labels import LabelledFrame, encode_frame
from shards.soft import STEPS, decode_soft, encode_soft, quantise
from shards.tasks import Task, palette

SEMSEG = Task("semseg", "classes", tuple("abcdefg"), palette(7))


def soft_label(kept: int, shape: tuple[int, int] = (6, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Return a soft label, and the probabilities of all classes that it was made from."""
    probabilities = np.random.default_rng(kept).dirichlet([0.2] * 7, shape)
    classes = np.argsort(-probabilities, -1)[..., :kept].astype(np.uint8)
    return quantise(classes, np.take_along_axis(probabilities, classes.astype(int), -1)), probabilities


@pytest.mark.parametrize("kept", [1, 2, 4, 7])
def test_stored_probabilities_are_close_to_the_given_ones_and_add_up(kept):
    soft, probabilities = soft_label(kept)
    classes, steps = soft[..., :kept].astype(int), soft[..., kept:]
    assert np.abs(steps / STEPS - np.take_along_axis(probabilities, classes, -1)).max() <= 1 / STEPS
    remainder = 1 - np.take_along_axis(probabilities, classes, -1).sum(-1)
    assert np.abs((STEPS - steps.sum(-1, dtype=int)) / STEPS - remainder).max() <= 0.5 / STEPS + 1e-9
    if kept == 7:
        assert (steps.sum(-1, dtype=int) == STEPS).all()


@pytest.mark.parametrize("kept", [1, 3])
def test_a_member_reads_back_as_it_was(kept):
    soft, _ = soft_label(kept)
    assert np.array_equal(decode_soft(SEMSEG, encode_soft(soft), kept), soft)
    image = Image.open(io.BytesIO(encode_soft(soft)))  # without this project, it is read as a stack of planes
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


def test_the_planes_of_a_large_frame_are_read():
    """Together they have more pixels than an image may have."""
    soft = np.zeros((2048, 4096, 8), np.uint8)
    soft[-1, -1] = 3, 2, 1, 0, 100, 90, 60, 5
    decoded = decode_soft(SEMSEG, encode_soft(soft), 4)
    assert decoded.shape == soft.shape and np.array_equal(decoded[-1, -1], soft[-1, -1])


def test_what_could_not_be_read_is_not_written():
    soft = np.broadcast_to(np.uint8(0), (2048, 4096, 16))  # it has no memory of its own
    with pytest.raises(UserError, match=r"16 planes of 4096x2048 pixels are over the limit of 128000000; store"):
        encode_soft(soft)
    labels = {"semseg": np.zeros((2048, 4096), np.uint8)}
    with pytest.raises(UserError, match="frame-1: semseg soft labels of 16 planes"):
        encode_frame(LabelledFrame("frame-1", labels, {}, {"semseg": soft}), (SEMSEG,))


def test_another_image_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 8)).save(buffer, "PNG")
    with pytest.raises(UserError, match="is a RGB image of 8 rows, not 4 planes of 8 bits"):
        decode_soft(SEMSEG, buffer.getvalue(), 2)
