"""Read image files of raw data: RGB, in its original bytes where possible, and labels as their stored values."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from shards.codec import RGB_FORMATS, check_pixels, open_image, rgb_extension
from shards.errors import BadFile, UserError
from shards.notes import note
from shards.orientation import Turn, apply_turn, turn_of, undo_turn

RGB_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
_OTHER_FORMATS = {".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM"}  # read, and stored as JPEG
_GREY = 0  # PNG colour type
_SEVERAL_CHANNELS = {2: "RGB", 4: "grey-and-alpha", 6: "RGBA"}  # PNG colour types
_MASK_HINT = "store one number per pixel: an 8-bit, 16-bit or palette PNG; classes may declare their colours instead"
_VALUES_HINT = "store the values themselves, one per pixel: a 16-bit PNG with one channel, TIFF or .npy"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_NUMBERS = {1: "unsigned integers", 2: "integers", 3: "floats"}  # by sample format (TIFF 6.0, section 19)
_BIG_TIFF = 43  # its version; 42 of others
_WHITE_IS_ZERO = 0  # photometric interpretation
_MAX_16_BITS = 65535
_DARK = 64  # an image that fills only 14 of its 16 bits stays below this after conversion to 8 bits
CONVERTED = {
    "L": "grey: made RGB",
    "1": "black and white: made RGB",
    "P": "a palette image: made RGB",
    "RGBA": "alpha is dropped",
    "LA": "grey with alpha: made RGB without it",
    "CMYK": "CMYK: made RGB",
}
"""Notes about images of other modes that are converted to RGB, by Pillow's name of the mode."""


def read_rgb(path: Path) -> np.ndarray | bytes:
    """Read an image in the form of :attr:`shards.sources.base.Frame.rgb`.

    Returns:
        The file's own bytes where they are upright 8-bit RGB of JPEG, PNG or WebP. Anything else (other formats, grey,
        palette, alpha, CMYK, 16 bits per channel, or turned by its EXIF orientation) as ``(H, W, 3)`` uint8: turned
        upright, alpha dropped, the high byte of 16 bits.

    Raises:
        UserError: when the file is missing, of an unsupported format, does not decode, or has too many pixels.
    """
    return read_picture(path)[0]


def read_picture(path: Path) -> tuple[np.ndarray | bytes, Turn | None]:
    """Return the result of :func:`read_rgb` and how it was turned. Every conversion is noted (:mod:`shards.notes`).

    Raises:
        UserError: as for :func:`read_rgb`.
    """
    return _upright_rgb(path, *_open(path))


def read_pixels(path: Path) -> np.ndarray:
    """Read an image as :func:`read_rgb` does, but always as pixels ``(H, W, 3)`` uint8. Every conversion is noted.

    Raises:
        UserError: as for :func:`read_rgb`.
    """
    data, image = _open(path)
    rgb, _ = _upright_rgb(path, data, image)
    return rgb if isinstance(rgb, np.ndarray) else np.asarray(image)


def check_bytes(data: bytes) -> None:
    """Check that the bytes of a JPEG, PNG or WebP can be stored as they are: upright, and of 8 bits per channel.

    Raises:
        UserError: when EXIF turns the image, or a PNG has 16 bits per channel. What does not open raises nothing here.
    """
    extension = rgb_extension(data)
    if extension is None:
        return
    try:
        image = Image.open(io.BytesIO(data), formats=(RGB_FORMATS[extension],))
        check_pixels(image)
    except Exception:  # of nearly any type for damaged files, which do not decode later either
        return
    if _bits(data, image) == 16:
        hint = "give shards.images.read_rgb(path), or pixels of 8 bits"
        raise UserError("has 16 bits per channel, expected 8", hint=hint)
    if turn_of(image) is not None:
        hint = "give shards.images.read_rgb(path), or its upright pixels, with labels of the same view"
        raise UserError("is turned by its EXIF orientation, and would be stored unturned", hint=hint)


def _upright_rgb(path: Path, data: bytes, image: Image.Image) -> tuple[np.ndarray | bytes, Turn | None]:
    """Return the bytes of an opened file where they are upright 8-bit RGB, else its pixels; and how it was turned."""
    turn = _turn_of_file(data, image)
    # Pillow silently opens RGB of 16 bits as RGB of 8, so the bit depth is read from the header
    sixteen_bits = _bits(data, image) == 16 or image.mode.startswith("I")
    if image.mode == "F":
        raise UserError("holds floats, not colours", file=path, hint="write 8 bits per channel")
    if image.mode == "I":
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > _MAX_16_BITS:
            message = f"holds integers from {low} to {high}, where 16 bits hold 0 to {_MAX_16_BITS}"
            raise UserError(message, file=path, hint="scale the values, and write 8 bits per channel")
    if image.mode == "RGB" and image.format in RGB_FORMATS.values() and not sixteen_bits and turn is None:
        return data, None
    pixels = _pixels(image)
    if turn is not None:
        note("turned upright by its EXIF orientation")
    if sixteen_bits:
        note("of 16 bits a channel, of which the upper 8 are taken")
        if pixels.max() < _DARK:
            message = "does not fill its 16 bits, so that the image is dark; scale the values, or store 8 bits"
            note(message, detail=f"the largest value is {pixels.max()} of 255")
    elif image.format not in RGB_FORMATS.values():
        note(f"{image.format} file: made plain RGB", detail=image.mode)
    elif image.mode != "RGB":
        note(CONVERTED.get(image.mode, "made RGB"), detail=image.mode)
    return pixels, turn


def read_mask(path: Path, coloured: bool = False) -> np.ndarray:
    """Read the stored values of a one-channel PNG, ``(H, W)`` uint8 or uint16; of a palette PNG, its indices.

    Args:
        path: the file.
        coloured: also accept an RGB PNG of 8 bits, as ``(H, W, 3)`` uint8.

    Raises:
        UserError: as for :func:`read_rgb`, and when the image has several channels without ``coloured``, or is partly
            transparent.
    """
    data, image = _open_label(path, "PNG")
    if coloured and image.mode in ("RGB", "RGBA") and _png_header(data)[0] == 8:
        pixels = np.asarray(image)
        if image.mode == "RGBA" and (pixels[..., 3] != 255).any():
            message = "is partly transparent, so that its colours are not what is seen"
            raise UserError(message, file=path, hint="store it as RGB without alpha")
        return pixels[..., :3]
    return _stored_values(path, data, image, _MASK_HINT)


def read_values(path: Path, palette: bool = True) -> np.ndarray:
    """Read the stored values of a one-channel PNG, as :func:`read_mask`.

    Args:
        path: the file.
        palette: whether a palette PNG is accepted; where values are quantities, its indices would mean nothing.

    Raises:
        UserError: as for :func:`read_mask`.
    """
    data, image = _open_label(path, "PNG")
    if image.mode == "P" and not palette:
        raise UserError("is a palette picture, whose indices are not measurements", file=path, hint=_VALUES_HINT)
    return _stored_values(path, data, image, _MASK_HINT if palette else _VALUES_HINT)


def _stored_values(path: Path, data: bytes, image: Image.Image, hint: str) -> np.ndarray:
    """Return the stored values of an opened one-channel PNG, ``(H, W)`` uint8 or uint16."""
    bits, colour_type = _png_header(data)
    if colour_type in _SEVERAL_CHANNELS:
        message = f"is a {_SEVERAL_CHANNELS[colour_type]} picture, expected one channel"
        raise UserError(message, file=path, hint=hint)
    values = np.asarray(image)
    if colour_type == _GREY and bits in (2, 4):  # Pillow stretches these to 0..255
        values = values // (255 // (2**bits - 1))
    return values.astype(np.uint16 if bits == 16 else np.uint8, copy=False)


def read_tiff(path: Path) -> np.ndarray:
    """Read the stored values of a TIFF of one page and one channel, ``(H, W)``: uint8, uint16, int32 or float32.

    Its own orientation is not applied, and noted; whether white or black is 0 makes no difference.

    Raises:
        UserError: as for :func:`read_values`.
    """
    data, image = _open_label(path, "TIFF")
    pages = getattr(image, "n_frames", 1)
    if image.mode not in ("L", "I", "I;16", "I;16B", "F") or pages != 1:
        message = f"is a {image.mode} TIFF of {pages} page(s), expected one channel and page"
        raise UserError(message, file=path, hint="store one number per pixel: 16-bit or 32-bit float TIFF, or .npy")
    values = np.asarray(image)
    if image.mode == "L" and _tag(image, _PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO:
        values = 255 - values  # Pillow inverts these, and only those of 8 bits
    turn = _turn_of_file(data, image)
    values = values if turn is None else undo_turn(values, turn)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def read_channels(path: Path) -> np.ndarray:
    """Read the stored values of an 8-bit RGB PNG, ``(H, W, 3)`` uint8.

    Raises:
        UserError: as for :func:`read_rgb`, and when the image is not 8-bit RGB.
    """
    data, image = _open_label(path, "PNG")
    if image.mode != "RGB" or _png_header(data)[0] != 8:
        raise UserError("is not 8-bit RGB", file=path, hint="store it as an RGB PNG of 8 bits per channel")
    return np.asarray(image)


def _open(path: Path, image_format: str | None = None) -> tuple[bytes, Image.Image]:
    """Return the bytes of a file and its decoded image, in the given format of a label or else in any RGB format."""
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = "restore the file, or its permissions"
        raise BadFile(f"cannot be read ({error.strerror})", file=path, hint=hint) from error
    stored_as = image_format or RGB_FORMATS.get(rgb_extension(data) or "") or _OTHER_FORMATS.get(path.suffix.lower())
    if stored_as is None:
        raise BadFile("is neither JPEG, PNG nor WebP", file=path, hint="convert it, or take it out of the data")
    try:
        return data, open_image(data, stored_as)
    except UserError as error:
        if stored_as == "TIFF" and (numbers := _unread_numbers(data)):
            narrower = "float32" if "floats" in numbers else "int32"
            label_hint = f"write array.astype('{narrower}'), or a .npy file"
            hint = label_hint if image_format else "write 8 bits per channel"
            raise UserError(f"holds {numbers}, which are not read from a TIFF", file=path, hint=hint) from error
        raise type(error)(error.what, file=path, hint=error.hint) from error


def _open_label(path: Path, image_format: str) -> tuple[bytes, Image.Image]:
    """Open a label as :func:`_open` does. An orientation of its own, which is not applied, is noted."""
    data, image = _open(path, image_format)
    if _turn_of_file(data, image) is not None:
        note("its own EXIF orientation is not applied; where its image is turned, label_orientation: sensor turns it")
    return data, image


def _turn_of_file(data: bytes, image: Image.Image) -> Turn | None:
    """Return the turn that makes an opened file upright, whether or not Pillow has applied it."""
    if image.format != "TIFF":
        return turn_of(image)
    # Pillow turns a TIFF while it decodes it, and then drops its orientation
    return turn_of(Image.open(io.BytesIO(data), formats=("TIFF",)))


def _unread_numbers(data: bytes) -> str | None:
    """Return the type of a TIFF's numbers, such as ``64-bit floats``, where Pillow has none for it; else None."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if _BIG_TIFF in data[2:4] else 8])
        with io.BytesIO(data) as file:
            file.seek(tags.next)
            tags.load(file)
        bits, number = max(tags.get(_BITS_PER_SAMPLE, (1,))), _NUMBERS[max(tags.get(_SAMPLE_FORMAT, (1,)))]
    except Exception:  # of nearly any type for damaged files, and KeyError for other sample formats
        return None
    return f"{bits}-bit {number}" if bits == 64 or (number == "floats" and bits != 32) else None


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        upper = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        pixels = np.asarray(upper.convert("RGB"))
    else:
        pixels = np.asarray(image.convert("RGB"))
    turn = turn_of(image)  # None where Pillow has turned the pixels
    return pixels if turn is None else apply_turn(pixels, turn)


def _bits(data: bytes, image: Image.Image) -> int:
    """Return the bits per channel that an opened file stores; 8 for formats that have no others."""
    if image.format == "PNG":
        return _png_header(data)[0]
    bits = _tag(image, _BITS_PER_SAMPLE, 1) if image.format == "TIFF" else 8
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _tag(image: Image.Image, tag: int, default: Any) -> Any:
    """Return a tag of an opened TIFF; the default where it is absent, or the image is of another format."""
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _png_header(data: bytes) -> tuple[int, int]:
    """Return bit depth and colour type from the IHDR chunk, which comes first (PNG specification, 11.2.1)."""
    return data[24], data[25]
