"""A training run in which one rank kills itself: ``dying_rank.py RANK WHEN CONFIG [key=value ...]``.

WHEN is a number of seconds after the first step, ``step 9`` (before any of its records are written), ``saving`` (the
first file of a checkpoint is written, the second is not), or ``last`` (after the last step, before the export).
With ``never`` no rank dies.
"""

import os
import signal
import sys
import threading

from launchers.cli import exit_process, main
from trainer.runs import checkpoint
from trainer.trainer import Trainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(when: str) -> None:
    original_after_step, original_write = Trainer.after_step, checkpoint._write

    def after_step_or_die(trainer, records):
        if (when == "last" and trainer.step == trainer.steps) or when == f"step {trainer.step}":
            die()
        if when[0].isdigit() and not timers:
            timers.append(threading.Timer(float(when), die))
            timers[0].start()
        original_after_step(trainer, records)

    def write_or_die(tensors, path):
        if path.name == "training.safetensors":
            die()
        original_write(tensors, path)

    timers: list[threading.Timer] = []
    Trainer.after_step = after_step_or_die
    if when == "saving":
        checkpoint._write = write_or_die


if __name__ == "__main__":
    rank, when, *arguments = sys.argv[1:]
    if os.environ.get("RANK", "0") == rank and when != "never":
        arm(when)
    exit_process(main(["train", *arguments]))
