"""Kind ``unit_vector``: one minus the cosine of the angle, the direction, a histogram of angles."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.fixedpoint import fixed_point_sum, histogram
from trainer.kindmetrics.vectors import BINS, BINS_PER_DEGREE, UnitVectorMetrics
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad


class UnitVectorEncoder(Encoder):
    """Unit vectors ``(B, 3, H, W)``, the zero vector = no label, unchanged."""

    def __init__(self, validity: bool) -> None:
        super().__init__()
        self.validity = validity
        self.channels = 3 + validity

    def forward(self, vectors: Tensor) -> Tensor:
        vectors = pad(vectors)
        if not self.validity:
            return vectors
        return torch.cat([vectors, (vectors != 0).any(1, keepdim=True).to(vectors.dtype)], 1)


class UnitVectorLearning(UnitVectorMetrics, Learning):
    """Tensors are float32 ``(3, H, W)``, the zero vector for no label; outputs are vectors of any length."""

    def view(self, array: Tensor) -> Tensor:
        return array.permute(2, 0, 1)

    def array(self, tensor: Tensor) -> np.ndarray:
        return tensor.permute(1, 2, 0).numpy()

    def labelled(self, target: Tensor) -> Tensor:
        return (target != 0).any(dim=-3, keepdim=True)

    def augmented(self, tensor: Tensor, zoom: float, mirrored: bool) -> Tensor:
        """To the same camera, an image z times larger with depth / z is the scene (X, Y, Z / z), in which a normal
        (nx, ny, nz) becomes (nx, ny, z·nz), normalised again; exact for a window at the frame's centre."""
        if mirrored:
            tensor[0].neg_()
        if zoom == 1:
            return tensor
        tensor[2] *= zoom
        return F.normalize(tensor, dim=0)

    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        return UnitVectorEncoder(validity)

    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """One minus the cosine of the angle."""
        # eps bounds the gradient where a prediction is the zero vector, which has no direction.
        distance = 1 - F.cosine_similarity(prediction, target, dim=1, eps=1e-4)
        return torch.where((target != 0).any(dim=1), distance, 0)

    def decide(self, output: Tensor) -> Tensor:
        """The direction, float32 ``(B, H, W, 3)`` of length 1."""
        return F.normalize(output.float(), dim=1).permute(0, 2, 3, 1)

    def mirrored(self, x: Tensor) -> Tensor:
        return x.flip(-1) * x.new_tensor([-1, 1, 1])[:, None, None]

    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the two directions; the agreement is (1 + cosine) / 2."""
        a, b = F.normalize(one, dim=1), F.normalize(other, dim=1)
        return a + b, (1 + (a * b).sum(1)) / 2

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """The fixed-point sum of the angles in degrees and their histogram. A zero prediction is at 90°."""
        where = self.labelled(target).squeeze(1)
        prediction, truth = decision.permute(0, 3, 1, 2).double(), target.double()
        # atan2 keeps full precision where acos(cosine) loses half of the digits: near 0° and 180°.
        sine = torch.linalg.cross(prediction, truth, dim=1).norm(dim=1)
        angles = torch.atan2(sine, (prediction * truth).sum(dim=1)).rad2deg().nan_to_num(180)
        angles = angles.masked_fill((prediction == 0).all(dim=1), 90)
        bins = (angles * BINS_PER_DEGREE).long().clamp(max=BINS - 1)
        return torch.cat([fixed_point_sum(angles, where), histogram(bins, where, BINS)])
