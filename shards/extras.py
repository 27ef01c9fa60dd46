"""Optional dependencies: the extras of the distribution (``pip install 'tutelage[report]'``).

Reading and writing shards, training, evaluation and tables need none of them.
"""

from importlib.util import find_spec

from shards.errors import UserError

EXTRAS = {
    "deepspeed": ("deepspeed", "transformers"),
    "exr": ("OpenEXR",),
    "nyudv2": ("h5py",),
    "remote": ("aiohttp", "fsspec", "s3fs"),
    "tiles": ("imagecodecs", "tifffile"),
    "report": ("contourpy", "jinja2", "markupsafe", "matplotlib", "tensorboard"),
}
"""The modules that each extra installs and this package imports."""


def need(feature: str, *modules: str) -> None:
    """Check, before any work is done, that modules of extras are installed.

    Args:
        feature: the command or option that needs them.
        modules: modules listed in :data:`EXTRAS`.

    Raises:
        UserError: naming the missing modules, and what to install.
    """
    missing = [module for module in modules if not installed(module)]
    if missing:
        extra = next(extra for extra, names in EXTRAS.items() if missing[0] in names)
        raise UserError(f"needs {', '.join(missing)}", key=feature, hint=f"pip install 'tutelage[{extra}]'")


def installed(module: str) -> bool:
    """Whether a top-level module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it; or it is imported already, but has no spec
        return False
