"""Kind ``binary``: balanced binary cross-entropy, masks by probability, counts of pixels and ranks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.fixedpoint import histogram
from trainer.kindmetrics.binary import BINS, BinaryMetrics
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad
from trainer.resize import resize_output


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


class BinaryLearning(BinaryMetrics, Learning):
    """Tensors are int16 ``(H, W)`` as at rest, 0 for no label; outputs are a logit for each mask."""

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

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """For each mask: correct and wrong pixels where it holds and where it does not, and histograms of the
        probability of both."""
        count, where = self.task.channels, self.labelled(target)
        if output is not None:
            height, width = target.shape[-2:]
            output = torch.cat([*resize_output(output, (height, width))], 2)
        holds, predicted = _masks_of(target, count), _masks_of(decision, count)
        parts = []
        for mask in range(count):
            cells = holds[:, mask].long() * 2 + predicted[:, mask]
            parts.append(histogram(cells, where, 4))
            if output is None:
                parts.append(torch.zeros(2 * BINS, dtype=torch.int64, device=target.device))
                continue
            bins = (output[:, mask].float().sigmoid().nan_to_num(0) * BINS).long().clamp(max=BINS - 1)
            parts += [histogram(bins, where & (holds[:, mask] == positive), BINS) for positive in (False, True)]
        return torch.cat(parts)
