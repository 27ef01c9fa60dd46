"""Signals during training, within this process (tests/trainer/test_continuing.py starts real ones)."""

import os
import signal

import pytest
from runs import lines, weights

from trainer.runs import checkpoint
from trainer.runs.status import Interrupted
from trainer.trainer import Trainer
from trainer.trainstage import train


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda signum: signum.name)
def test_a_signal_stops_after_the_step_at_hand_with_a_checkpoint(make, signum, monkeypatch):
    run = make("plain", "train.steps=8", "train.log_every=5")
    original, before = Trainer.optimise, signal.getsignal(signum)

    def optimise(trainer, micro):
        result = original(trainer, micro)
        if trainer.step == 3:
            os.kill(os.getpid(), signum)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "optimise", optimise)
        with pytest.raises(Interrupted, match=f"stopped at step 3 by {signum.name}; start the same command again"):
            train(run)
    assert signal.getsignal(signum) == before
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000003"]
    train(run)
    assert [line["step"] for line in lines(run.folder, "order")] == list(range(1, 9))
    undisturbed = make("plain", "train.steps=8", "train.log_every=5", f"run.path={run.folder}-undisturbed")
    train(undisturbed)
    assert weights(run.folder) == weights(undisturbed.folder) and lines(run.folder) == lines(undisturbed.folder)


def test_a_signal_in_the_last_step_stops_what_follows_the_training(make, monkeypatch):
    run, original = make("plain"), Trainer.after_step

    def after_step(trainer, records):
        original(trainer, records)
        if trainer.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "after_step", after_step)
    with pytest.raises(Interrupted, match="plain/seed-0: finished, and stopped by SIGTERM before anything else"):
        train(run)
    assert checkpoint.load_exported(run.checkpoints / "last")[1]["step"] == 4
