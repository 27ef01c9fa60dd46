"""A training run whose reader hangs, as on a network disk that is gone.

    hanging.py OUT DATA WORKERS READS SPLIT

It hangs after READS reads of frames of SPLIT.
"""

import sys
import threading
from pathlib import Path

import torch

import tutelage as tt
from shards.frames import Frames
from trainer.runs.status import Interrupted


def main(out: str, data: str, workers: int, reads: int, split: str) -> int:
    train, val = tt.ShardDataset(data, "train"), tt.ShardDataset(data, "val")
    original_read, count = Frames.read, [0]

    def read_or_hang(self, *arguments):
        count[0] += self.split == split
        if count[0] > reads:
            Path(out).with_suffix(".hangs").touch()
            threading.Event().wait()
        return original_read(self, *arguments)

    Frames.read = read_or_hang
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loss = tt.MultiTaskLoss(train.tasks)
    model = tt.create_model("mtinet", backbone="test_efficientnet", inputs=["rgb"], tasks=train.tasks)
    training_data = tt.TrainingData(train, ["rgb"], [task.name for task in train.tasks], num_workers=workers)
    options = {"global_batch_size": 4, "steps": 8, "log_every": 1}
    try:
        tt.Trainer(model, loss, training_data, out=out, val=val if split == "val" else None, **options).fit()
    except Interrupted as error:
        print(error)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
