"""Images that their EXIF orientation turns, and labels that lie on the sensor's grid all the same."""

import numpy as np
from PIL import ExifTags, Image

from shards.errors import UserError
from shards.notes import note

Turn = Image.Transpose
_UPRIGHT = {  # by EXIF orientation (Exif 2.32, 4.6.4 A); 1 is upright, and so is whatever has no meaning
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
_SWAPS = (Turn.TRANSPOSE, Turn.ROTATE_270, Turn.TRANSVERSE, Turn.ROTATE_90)


def turn_of(image: Image.Image) -> Turn | None:
    """What makes an image upright, by its EXIF orientation."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow meets broken EXIF with nearly any exception; like a viewer, take the image as it is
        return None


def turned(array: np.ndarray, turn: Turn) -> np.ndarray:
    """An array ``(H, W, ...)`` turned as ``PIL.Image.Image.transpose`` turns an image."""
    if turn in (Turn.ROTATE_90, Turn.ROTATE_270):
        result = np.rot90(array, 1 if turn == Turn.ROTATE_90 else -1)
    elif turn in (Turn.FLIP_LEFT_RIGHT, Turn.FLIP_TOP_BOTTOM):
        result = array[:, ::-1] if turn == Turn.FLIP_LEFT_RIGHT else array[::-1]
    else:
        result = array if turn == Turn.TRANSPOSE else array[::-1, ::-1]
        result = result if turn == Turn.ROTATE_180 else result.swapaxes(0, 1)
    return np.ascontiguousarray(result)


def upright(
    label: np.ndarray, directional: bool, turn: Turn, size: tuple[int, int], drawn_on: str | None = None
) -> np.ndarray:
    """A label as it lies on an image that was turned.

    Args:
        label: as its file stores it.
        directional: whether its values are directions in the image.
        turn: of the image.
        size: height and width of the upright image.
        drawn_on: ``upright`` or ``sensor``: the view that labels were drawn on; None to tell by the sides, where
            the turn swaps them and they differ.

    Raises:
        UserError: when it has to be turned, and its values are directions, which would have to be turned too.
    """
    height, width = label.shape[:2]
    told = turn in _SWAPS and height != width
    across = told and (height > width) != (size[0] > size[1])
    if drawn_on is None and not told:
        note("the image is turned by its EXIF orientation, the label taken as upright; label_orientation tells")
    if drawn_on == "upright" or (drawn_on is None and not across):
        return label
    if directional:
        hint = "store images upright and without EXIF orientation, and labels in the same view"
        raise UserError("lies on the sensor's grid, which its image's EXIF orientation turns", hint=hint)
    note("lies on the sensor's grid: turned upright with its image")
    return turned(label, turn)
