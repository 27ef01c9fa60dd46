"""What enlarging an image does to a quantity, by its name and unit, where nobody declared it."""

import re

ZOOMS = ("divide", "multiply", "keep")
"""``divide``: depth, since what is enlarged looks nearer. ``multiply``: disparity, inverse depth. ``keep``: whatever
does not depend on where the camera is, such as a temperature or a height over the floor."""
LENGTHS = {"m": 1.0, "mm": 0.001, "cm": 0.01, "dm": 0.1, "km": 1000.0, "um": 1e-6, "ft": 0.3048, "in": 0.0254}
"""Metres of the units of length that are known."""
_INVERSE = re.compile(r"(1/|.*(\^-1|⁻¹|\*\*-1)$|dpt$|diopt)")
_PIXELS = {"px", "pix", "pixel", "pixels"}
_NAMES = {
    "multiply": {"disparity", "disp", "inverse", "inv", "idepth"},
    "divide": {"depth", "distance", "range", "z"},
    "keep": {"height", "elevation", "altitude", "thickness", "temperature", "thermal", "heat", "reflectance", "albedo"}
    | {"roughness", "moisture", "confidence", "saliency"},
}


def zoom_of(name: str, unit: str) -> str | None:
    """``divide``, ``multiply`` or ``keep`` for a task of this name and unit; None where they do not tell."""
    words = set(name.split("_"))
    by_name = next((zoom for zoom, names in _NAMES.items() if words & names), None)
    if unit in _PIXELS or _INVERSE.match(unit):
        return "multiply" if by_name in ("multiply", None) or unit not in _PIXELS else by_name
    if unit and unit not in LENGTHS:
        return by_name or "keep"
    return by_name
