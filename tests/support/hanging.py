"""A training run whose reader hangs, as on a network disk that is gone: python hanging.py OUT DATA WORKERS AT WHERE."""

import sys
import threading
from pathlib import Path

import torch

import tutelage as tt
from shards.frames import Frames
from trainer.runs.status import Interrupted


def main(out: str, data: str, workers: int, at: int, where: str) -> int:
    train, val = tt.ShardDataset(data, "train"), tt.ShardDataset(data, "val")
    read, count = Frames.read, [0]

    def hang(self, *arguments):
        count[0] += self.split == where
        if count[0] > at:
            Path(out).with_suffix(".hangs").touch()
            threading.Event().wait()
        return read(self, *arguments)

    Frames.read = hang
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loss = tt.MultiTaskLoss(train.tasks)
    model = tt.create_model("mtinet", backbone="test_efficientnet", inputs=["rgb"], tasks=train.tasks)
    learnt = tt.TrainingData(train.frames, ["rgb"], [t.name for t in train.tasks], num_workers=workers)
    asked = {"global_batch_size": 4, "steps": 8, "log_every": 1}
    try:
        tt.Trainer(model, loss, learnt, out=out, val=val if where == "val" else None, **asked).fit()
    except Interrupted as error:
        print(error)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
