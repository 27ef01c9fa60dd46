"""A launch that writes into a run's folder: it holds the folder, hears signals, and leaves word of how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator

from shards.errors import UserError
from trainer.progress import say
from trainer.runs.lease import Lease
from trainer.runs.status import new_launch, recorded
from trainer.runtime import StopRequest, broadcast, losing_ranks


class Held(NamedTuple):
    """What a launch has of a folder that it holds: the signals that it heard, and on the main process its lease."""

    request: StopRequest
    lease: Lease | None


@contextmanager
def running(folder: Path, process: Accelerator, stage: str = "train") -> Iterator[Held]:
    """Holds a run's folder during a stage; all ranks raise what it meets.

    Signals do not end the process inside: they are asked for.

    Raises:
        UserError: when another process holds it.
        LostRank: when another rank has ended.
    """
    # a signal that comes while the end is written down changes nothing any more
    with StopRequest() as request:
        lease, refused = None, None
        try:
            try:
                lease = Lease.take(folder, say=say) if process.is_main_process else None
            except UserError as error:
                refused = error
            broadcast(process, refused)
            with recorded(folder, stage, broadcast(process, new_launch())), losing_ranks():
                yield Held(request, lease)
        finally:
            if lease:
                lease.release()
