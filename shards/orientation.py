"""EXIF orientation: images that it turns, and labels that may still lie on the sensor's grid."""

import numpy as np
from PIL import ExifTags, Image

from shards.errors import UserError
from shards.notes import note

Turn = Image.Transpose
_UPRIGHT = {  # by EXIF orientation (Exif 2.32, 4.6.4 A); 1 is upright, and undefined values count as upright
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
_INVERSE = {Turn.ROTATE_90: Turn.ROTATE_270, Turn.ROTATE_270: Turn.ROTATE_90}  # the others are their own
_SWAPS = (Turn.TRANSPOSE, Turn.ROTATE_270, Turn.TRANSVERSE, Turn.ROTATE_90)


def turn_of(image: Image.Image) -> Turn | None:
    """Return the turn that makes an image upright by its EXIF orientation; None where it needs none."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises nearly any exception for broken EXIF; like viewers, take the image as it is
        return None


def apply_turn(array: np.ndarray, turn: Turn) -> np.ndarray:
    """Turn an array ``(H, W, ...)`` as ``PIL.Image.Image.transpose`` turns an image."""
    if turn in (Turn.ROTATE_90, Turn.ROTATE_270):
        result = np.rot90(array, 1 if turn == Turn.ROTATE_90 else -1)
    elif turn in (Turn.FLIP_LEFT_RIGHT, Turn.FLIP_TOP_BOTTOM):
        result = array[:, ::-1] if turn == Turn.FLIP_LEFT_RIGHT else array[::-1]
    else:
        result = array if turn == Turn.TRANSPOSE else array[::-1, ::-1]
        result = result if turn == Turn.ROTATE_180 else result.swapaxes(0, 1)
    return np.ascontiguousarray(result)


def undo_turn(array: np.ndarray, turn: Turn) -> np.ndarray:
    """Turn an array back that :func:`apply_turn` has turned."""
    return apply_turn(array, _INVERSE.get(turn, turn))


def align_label(
    label: np.ndarray, directional: bool, turn: Turn, size: tuple[int, int], drawn_on: str | None = None
) -> np.ndarray:
    """Return a label on the pixel grid of its image, which was turned upright.

    Args:
        label: the array that its file stores.
        directional: whether its values are directions in the image.
        turn: the turn that was applied to the image.
        size: height and width of the upright image.
        drawn_on: the view that labels were drawn on, ``upright`` or ``sensor``; None infers it from height and width,
            which is possible where the turn swaps them and they differ.

    Raises:
        UserError: when the label has to be turned and its values are directions, which would have to turn too.
    """
    height, width = label.shape[:2]
    decidable = turn in _SWAPS and height != width
    across = decidable and (height > width) != (size[0] > size[1])
    if drawn_on is None and not decidable:
        note("the image is turned by its EXIF orientation, the label taken as upright; declare label_orientation")
    if drawn_on == "upright" or (drawn_on is None and not across):
        return label
    if directional:
        hint = "store images upright and without EXIF orientation, and labels in the same view"
        raise UserError("lies on the sensor's grid, which its image's EXIF orientation turns", hint=hint)
    note("lies on the sensor's grid: turned upright with its image")
    return apply_turn(label, turn)
