"""What is not installed with Tutelage alone: the extras of its distribution (``pip install 'tutelage[report]'``).

Reading and writing shards, training, evaluating and tables need none of them.
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
"""By extra, the modules that are imported of it."""


def need(what: str, *modules: str) -> None:
    """Make sure, before any work is done, that modules of extras are installed.

    Args:
        what: what needs them: the command or the option that was given.
        modules: of :data:`EXTRAS`.

    Raises:
        UserError: naming what is missing, and what to install.
    """
    missing = [module for module in modules if not installed(module)]
    if missing:
        extra = next(extra for extra, names in EXTRAS.items() if missing[0] in names)
        raise UserError(f"needs {', '.join(missing)}", key=what, hint=f"pip install 'tutelage[{extra}]'")


def installed(module: str) -> bool:
    """Whether a top-level module could be imported; it is not."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # refused by a finder; or imported, and not from a file
        return False
