"""Kind ``binary``: balanced binary cross-entropy, masks by probability, IoU, F1, average precision."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.fixedpoint import histogram
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad

BINS = 1000
"""The number of steps of a probability by which pixels are ranked for average precision."""


def _masks_of(target: Tensor, masks: int) -> Tensor:
    """Return each mask of a target ``(B, H, W)``, bool ``(B, K, H, W)``; undefined where there is no label."""
    places = torch.arange(masks, device=target.device)[:, None, None]
    return (target.long().unsqueeze(1) - 1) >> places & 1 == 1


class BinaryEncoder(Encoder):
    """Masks ``(B, H, W)`` as a channel of 0 and 1 each, 0 where there is no label."""

    def __init__(self, masks: int, validity: bool) -> None:
        super().__init__()
        self.masks, self.validity = masks, validity
        self.channels = masks + validity

    def forward(self, labels: Tensor) -> Tensor:
        labels = pad(labels)
        labelled = (labels != 0).unsqueeze(1)
        holds = (_masks_of(labels, self.masks) & labelled).float()
        return torch.cat([holds, labelled.float()], 1) if self.validity else holds


class BinaryLearning(Learning):
    """Tensors are int16 ``(H, W)`` as at rest, 0 for no label; outputs are a logit for each mask."""

    kind = "binary"
    ranked = True

    def labelled(self, target: Tensor) -> Tensor:
        return target != 0

    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        return BinaryEncoder(self.task.channels, validity)

    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """Binary cross-entropy in nats, the mean over masks, in which the pixels of a frame where a mask holds and
        those where it does not weigh the same, as far as there are both (after Xie and Tu, "Holistically-Nested Edge
        Detection", ICCV 2015, eq. 2: balanced frame by frame, so that no frame's loss depends on its batch)."""
        labelled = self.labelled(target).unsqueeze(1)
        holds = _masks_of(target, self.task.channels)
        pixels = labelled.sum((2, 3), keepdim=True)
        inside = (holds & labelled).sum((2, 3), keepdim=True)
        weight = torch.where(holds, pixels / (2 * inside.clamp(min=1)), pixels / (2 * (pixels - inside).clamp(min=1)))
        loss = F.binary_cross_entropy_with_logits(prediction, holds.to(prediction.dtype), reduction="none")
        return torch.where(labelled, weight * loss, 0).mean(1)

    def decide(self, output: Tensor) -> Tensor:
        """The masks with a probability over one half, int16 ``(B, H, W)``."""
        places = torch.arange(self.task.channels, device=output.device)[:, None, None]
        return (((output > 0).long() << places).sum(1) + 1).to(torch.int16)

    def confidence(self, output: Tensor) -> Tensor:
        """max(p, 1 − p) of the least certain mask."""
        p = output.float().sigmoid()
        return torch.maximum(p, 1 - p).amin(1)

    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, None]:
        """The logit of the mean probability."""
        p = torch.logaddexp(F.logsigmoid(one), F.logsigmoid(other))
        q = torch.logaddexp(F.logsigmoid(-one), F.logsigmoid(-other))
        return p - q, None

    @property
    def sums(self) -> int:
        return self.task.channels * (4 + 2 * BINS)

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """For each mask: correct and wrong pixels where it holds and where it does not, and histograms of the
        probability of both."""
        count, where = self.task.channels, self.labelled(target)
        holds, predicted = _masks_of(target, count), _masks_of(decision, count)
        parts = []
        for mask in range(count):
            cells = holds[:, mask].long() * 2 + predicted[:, mask]
            parts.append(histogram(cells, where, 4))
            if output is None:
                parts.append(torch.zeros(2 * BINS, dtype=torch.int64, device=target.device))
                continue
            bins = (output[:, mask].float().sigmoid() * BINS).long().clamp(max=BINS - 1)
            parts += [histogram(bins, where & (holds[:, mask] == positive), BINS) for positive in (False, True)]
        return torch.cat(parts)

    def report(self, sums: list[int]) -> dict[str, Any]:
        """``mask_iou`` and ``f1``, means over the masks that occur in truth or prediction, with ``iou`` by mask (None:
        absent); ``average_precision``, the mean over the masks that occur in the truth of the area under precision over
        recall, pixels ranked by probability in steps of 1/1000 (None where there were no outputs); ``pixels``."""
        size = 4 + 2 * BINS
        iou, f1, precision, pixels = [], [], [], 0
        for start in range(0, len(sums), size):
            true_negative, false_positive, false_negative, true_positive = sums[start : start + 4]
            pixels = true_negative + false_positive + false_negative + true_positive
            union = true_positive + false_positive + false_negative
            iou.append(true_positive / union if union else None)
            f1.append(2 * true_positive / (true_positive + union) if union else None)
            negatives, positives = sums[start + 4 : start + 4 + BINS], sums[start + 4 + BINS : start + size]
            precision.append(_average_precision(positives, negatives))
        means = {"mask_iou": _mean(iou), "f1": _mean(f1), "average_precision": _mean(precision)}
        return {**means, "iou": iou, "pixels": pixels}


def _average_precision(positives: list[int], negatives: list[int]) -> float | None:
    """Σ (R_n − R_(n−1)) P_n over falling probability, of pixels where a mask holds and where it does not, by bin."""
    total, true_positive, false_positive, area = sum(positives), 0, 0, 0.0
    for hits, misses in zip(reversed(positives), reversed(negatives), strict=True):
        true_positive, false_positive = true_positive + hits, false_positive + misses
        if hits:
            area += hits / total * true_positive / (true_positive + false_positive)
    return area if total else None


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
