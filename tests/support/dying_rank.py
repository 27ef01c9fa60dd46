"""A training run of which one rank kills itself: ``dying_rank.py RANK WHEN CONFIG [key=value ...]``.

WHEN is a number of seconds after the first step, ``step 9`` (before anything is written of it), ``saving`` (the first
file of a checkpoint is written, the second is not), or ``last`` (the last step is done, and nothing is exported yet).
``never`` is a run that nothing disturbs.
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
    after_step, write = Trainer.after_step, checkpoint._write

    def step(trainer, records):
        if (when == "last" and trainer.step == trainer.steps) or when == f"step {trainer.step}":
            die()
        if when[0].isdigit() and not timers:
            timers.append(threading.Timer(float(when), die))
            timers[0].start()
        after_step(trainer, records)

    def half(tensors, path):
        if path.name == "training.safetensors":
            die()
        write(tensors, path)

    timers: list[threading.Timer] = []
    Trainer.after_step = step
    if when == "saving":
        checkpoint._write = half


if __name__ == "__main__":
    rank, when, *words = sys.argv[1:]
    if os.environ.get("RANK", "0") == rank and when != "never":
        arm(when)
    exit_process(main(["train", *words]))
