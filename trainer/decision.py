"""What a network says: labels of its output, as they are stored and drawn."""

import torch

from shards.tasks import Task


def decide(task: Task, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Labels ``(B, H, W)`` (``(B, H, W, 3)`` for vectors) of a network's output, and their confidence ``(B, H, W)``.

    The confidence of a class is its softmax. A metric value or a vector has none; a value of 0 or less, which cannot
    be, becomes "no label".

    Args:
        output: ``(B, C, H, W)`` float32.
    """
    if task.kind == "classes":
        # of the output itself, as metrics take it: softmax may round two classes to one confidence
        return output.argmax(1).to(torch.uint8), output.softmax(1).amax(1)
    if task.kind == "metric":
        return output[:, 0].clamp(min=0), None
    return torch.nn.functional.normalize(output, dim=1).permute(0, 2, 3, 1), None
