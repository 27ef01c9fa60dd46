"""A launch that writes into a run's folder: it holds the folder, handles signals, and records how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator

from shards.errors import UserError
from shards.log import logger
from trainer.runs.lease import Lease
from trainer.runs.status import new_launch, record_stage
from trainer.runtime import broadcast, report_lost_ranks
from trainer.stopping import StopRequest


class RunHold(NamedTuple):
    """A launch's hold on a run's folder: the signals that it received, and on the main process the lease."""

    request: StopRequest
    lease: Lease | None


@contextmanager
def hold_run(folder: Path, accelerator: Accelerator, stage: str = "train") -> Iterator[RunHold]:
    """Hold a run's folder during a stage; errors are raised on all ranks.

    Signals do not end the process inside the context: the stage polls ``request``.

    Raises:
        UserError: when another process holds the folder.
        LostRank: when another rank has ended.
    """
    # a signal that arrives while the end is recorded has no effect
    with StopRequest() as request:
        lease, refusal = None, None
        try:
            try:
                lease = Lease.take(folder, log=logger.info) if accelerator.is_main_process else None
            except UserError as error:
                refusal = error
            broadcast(accelerator, refusal)
            with record_stage(folder, stage, broadcast(accelerator, new_launch())), report_lost_ranks():
                yield RunHold(request, lease)
        finally:
            if lease:
                lease.release()
