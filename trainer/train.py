"""Training as a stage: one launch holds the run's folder, trains what is left of it, and exports the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from shards.errors import UserError
from trainer.evaluate import check_best
from trainer.experiment import Experiment
from trainer.model.size import size_of
from trainer.progress import say
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.runs.lease import Lease
from trainer.runs.status import Interrupted, already_finished, new_launch, recorded
from trainer.runtime import StopRequest, accelerator, broadcast, losing_ranks
from trainer.trainer import Trainer


def train(experiment: Experiment) -> Path:
    """Train an experiment's network, continuing a run that was interrupted, and export its last state.

    Returns:
        The folder of the exported network. A run that has finished returns at once.

    Raises:
        UserError: a bad configuration, bad data, a run that another process holds, or a loss that stays infinite.
        Interrupted: on SIGINT, SIGTERM or SIGUSR1, with a checkpoint written, or the network if it was the last step.
        LostRank: when another rank has ended.
    """
    last = experiment.checkpoints / "last"
    process = accelerator(experiment.config.train.precision, experiment.config.train.timeout)
    if broadcast(process, checkpoint.exported(last)):
        claim(experiment)
        already_finished(experiment.folder, "train")
        return last
    # a signal that comes while the end is written down changes nothing any more
    with (
        StopRequest() as request,
        holding(experiment, process) as lease,
        recorded(experiment.folder, "train", broadcast(process, new_launch())),
        losing_ranks(),
    ):
        claim(experiment)
        check_best(experiment)
        if broadcast(process, checkpoint.exported(last)):  # by the one that held it until now
            return last
        trainer = Trainer(experiment, process, lease, request)
        try:
            trainer.resume()
            if trainer.main and not trainer.step:
                say(f"{experiment.config.experiment}: {size_of(experiment.architecture, trainer.frame)}")
            for _ in trainer.iterate():
                pass
            trainer.export("last")
        finally:
            trainer.writer.close()
        if trainer.asked_to_stop():
            raise Interrupted(f"{experiment.folder}: finished, and stopped by {trainer.signal} before anything else")
    return last


@contextmanager
def holding(experiment: Experiment, process: Accelerator) -> Iterator[Lease | None]:
    """Holds the run's folder, in the main process; all ranks raise what it meets.

    Raises:
        UserError: when another process holds it.
    """
    lease = None
    try:
        refused = None
        try:
            lease = Lease.take(experiment.folder, say=say) if process.is_main_process else None
        except UserError as error:
            refused = error
        broadcast(process, refused)
        yield lease
    finally:
        if lease:
            lease.release()
