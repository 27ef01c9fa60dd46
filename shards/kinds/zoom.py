"""A guess, from a quantity's name and unit, of what enlarging an image does to its values."""

import re

ZOOMS = ("divide", "multiply", "keep")
"""``divide``: depth, since enlarged things appear nearer. ``multiply``: disparity, inverse depth. ``keep``: quantities
that do not depend on the camera's position, such as a temperature or a height over the floor."""
LENGTHS = {"m": 1.0, "mm": 0.001, "cm": 0.01, "dm": 0.1, "km": 1000.0, "um": 1e-6, "ft": 0.3048, "in": 0.0254}
"""Metres per unit, for known units of length."""
_INVERSE = re.compile(r"(1/|.*(\^-1|⁻¹|\*\*-1)$|dpt$|diopt)")
_PIXELS = {"px", "pix", "pixel", "pixels"}
_NAMES = {
    "multiply": {"disparity", "disp", "inverse", "inv", "idepth"},
    "divide": {"depth", "distance", "range", "z"},
    "keep": {"height", "elevation", "altitude", "thickness", "temperature", "thermal", "heat", "reflectance", "albedo"}
    | {"roughness", "moisture", "confidence", "saliency"},
}


def zoom_of(name: str, unit: str) -> str | None:
    """Return ``divide``, ``multiply`` or ``keep`` for a task's name and unit; None where they suggest nothing."""
    words = set(name.split("_"))
    by_name = next((zoom for zoom, names in _NAMES.items() if words & names), None)
    if unit in _PIXELS or _INVERSE.match(unit):
        return "multiply" if by_name in ("multiply", None) or unit not in _PIXELS else by_name
    if unit and unit not in LENGTHS:
        return by_name or "keep"
    return by_name
