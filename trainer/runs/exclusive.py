"""One writer at a time for a data set that several processes may make, such as the ranks of a launch or two jobs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.atomic import disk_errors
from shards.log import logger
from shards.manifest import NAME, Manifest
from trainer.runs.lease import hold_lease

_LEASES = ".prepare"


@contextmanager
def exclusive(out: Path, log: Callable[[str], None] = logger.info) -> Iterator[None]:
    """Wait while another process makes or repairs the data set in a folder, which is then finished.

    A finished data set, which may be read-only, is not locked, and neither is a file in place of the folder, which is
    an error of :func:`shards.claim.claim`.

    Args:
        out: the folder of the data set; made if necessary.
        log: called with a line about the other process, if the wait is long.

    Raises:
        UserError: when the folder cannot be written, or its manifest is damaged.
    """
    finished = (out / NAME).exists() and Manifest.load(out).complete()
    if finished or out.is_file():
        yield
        return
    leases = out / _LEASES
    with disk_errors(out):
        leases.mkdir(parents=True, exist_ok=True)
    with hold_lease(leases, "prepare", log=log):
        yield
