"""Cost and loss of soft labels: bytes per frame and divergence from the teacher's full distribution, by k and scale.

    python -m benchmarks.soft_labels RUN_FOLDER [--frames N] [--classes 1,2,4,8] [--scales 1,2,4]

The teacher of a finished run predicts frames that it would label; each distribution is encoded as in label shards and
decoded again (shards/soft.py). Prints, averaged over pixels, the information lost in nats (the divergence of the
teacher's distribution from one in which the classes that are not stored share their mass evenly), their mass, and how
often the most probable class is unchanged; for comparison also the bytes of hard label and confidence.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.outputs import outputs_on
from shards.codec import encode_confidence
from shards.resize import resize_label
from shards.soft import STEPS, decode_soft, encode_soft
from shards.tasks import Task
from trainer.decision import soft_label
from trainer.experiment import Experiment
from trainer.kinds import learning


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--frames", type=int, default=40)
    arguments.add_argument("--classes", default="1,2,3,4,6,8,16")
    arguments.add_argument("--scales", default="1,2,4")
    options = arguments.parse_args()
    experiment = Experiment.of_run(options.run)
    task = next(task for task in experiment.targets if task.storage.distribution)
    frames_and_mask, flip = experiment.frames_to_label(), experiment.config.label.flip
    outputs = [output for output, _ in outputs_on(experiment, task, *frames_and_mask, flip=flip, count=options.frames)]
    hard_bytes = np.mean([len(task.storage.encode(learning(task).decide(output)[0].numpy())) for output in outputs])
    confidences = [learning(task).confidence(output) for output in outputs]
    confidence_bytes = np.mean(
        [len(encode_confidence(confidence[0].numpy())) for confidence in confidences if confidence is not None]
    )
    print(f"{len(outputs)} frames of {outputs[0].shape[2]}x{outputs[0].shape[3]}, {len(task.classes)} classes")
    print(f"hard label {hard_bytes / 1000:.1f} kB, confidence {confidence_bytes / 1000:.1f} kB a frame\n")
    print("| k | scale | kB a frame | nats lost | mass not stored | same class |")
    print("|---|---|---|---|---|---|")
    for scale in map(int, options.scales.split(",")):
        for k in map(int, options.classes.split(",")):
            if k <= len(task.classes):
                costs = np.mean([cost(task, output, k, scale) for output in outputs], 0)
                size, divergence, lost_mass, same = costs
                print(f"| {k} | {scale} | {size / 1000:.1f} | {divergence:.4f} | {lost_mass:.2%} | {same:.2%} |")


def cost(task: Task, output: torch.Tensor, k: int, scale: int) -> tuple[float, float, float, float]:
    """Return bytes, divergence in nats, mass not stored, and share of pixels with an unchanged class, for one frame."""
    data = encode_soft(soft_label(output, k, scale)[0])
    soft = resize_label(decode_soft(task, data, k), (output.shape[2], output.shape[3]))
    stored = spread(soft, len(task.classes))
    p = output[0].softmax(0).permute(1, 2, 0).double().numpy()
    divergence = (p * (np.log(p.clip(1e-12)) - np.log(stored.clip(1e-4)))).sum(-1).mean()
    lost_mass = 1 - soft[..., k:].sum(-1, dtype=np.int64).mean() / STEPS
    same = (soft[..., 0] == p.argmax(-1)).mean()
    return len(data), float(divergence), float(lost_mass), float(same)


def spread(soft: np.ndarray, classes: int) -> np.ndarray:
    """Expand ``(h, w, 2k)`` to ``(h, w, classes)`` float64; classes that are not stored share the rest evenly."""
    named, steps = np.split(soft, 2, axis=-1)
    remaining = STEPS - steps.sum(-1, dtype=np.int64, keepdims=True)
    probabilities = np.repeat(remaining / max(classes - named.shape[-1], 1), classes, axis=-1)
    np.put_along_axis(probabilities, named.astype(np.int64), steps.astype(np.float64), axis=-1)
    return probabilities / STEPS


if __name__ == "__main__":
    main()
