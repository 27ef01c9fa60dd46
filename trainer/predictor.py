"""A trained network as a robot has it: from what a camera gives to labels, in one module.

.. code-block:: python

    predictor = Predictor("runs/warehouse/ummt-ps/seed-0/checkpoints/last")
    labels = predictor.predict({"rgb": picture})  # {"semseg": (H, W) uint8, "depth": (H, W) float32 in metres, ...}
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shards.atomic import atomic_file
from shards.errors import UserError
from shards.resize import resize_label, resize_rgb
from trainer.augment import blank, to_tensors
from trainer.decision import decide
from trainer.model.architecture import RGB
from trainer.model.blocks import upsample
from trainer.runs import checkpoint


class Predictor(nn.Module):
    """An exported network with what stands before and behind it: bytes to floats, outputs to labels.

    Args:
        model: the folder of an exported network (``checkpoints/last``), or the ``model.safetensors`` in it.
        size: (height, width) that :meth:`predict` gives the network; None for that of the frames it was trained on.

    Attributes:
        inputs: the names of what it takes.
        labels: those tasks whose labels are among them.
        tasks: what it says.
        size: as given or found; None where the training frames had sizes of their own: pictures are then taken as
            they are.
        facts: what ``model.json`` says.

    Raises:
        UserError: when the network is missing or damaged.
    """

    def __init__(self, model: str | Path, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        folder = Path(model)
        folder = folder.parent if folder.name == "model.safetensors" else folder
        self.network, self.facts = checkpoint.load_exported(folder)
        architecture = self.network.architecture
        self.inputs, self.tasks, self.labels = architecture.inputs, architecture.tasks, architecture.input_tasks
        found = self.facts.get("size")
        self.size = size or (tuple(found) if found else None)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Labels of a batch, on the device of the network.

        Args:
            inputs: by modality, in the form that :mod:`trainer.augment` lists, with a batch before it: ``rgb`` is
                uint8 ``(B, 3, H, W)``, a depth float32 ``(B, 1, H, W)`` in metres.
            size: (height, width) of the labels; None for that of the inputs.

        Returns:
            By task, classes as uint8 ``(B, H, W)``, quantities as float32 ``(B, H, W)`` in the task's unit, unit
            vectors as float32 ``(B, H, W, 3)``; and the confidence of classes, float32 ``(B, H, W)`` in 0..1, as
            ``TASK.confidence``.
        """
        seen = {name: inputs[name].float() / 255 if name == RGB else inputs[name] for name in self.inputs}
        final = self.network(seen).final
        labels = {}
        for task in self.tasks:
            output = upsample(final[task.name], size) if size else final[task.name]
            labels[task.name], confidence = decide(task, output)
            if confidence is not None:
                labels[f"{task.name}.confidence"] = confidence
        return labels

    @torch.inference_mode()
    def predict(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Labels of one frame, at its own size: as :meth:`forward` returns them, without a batch.

        Args:
            frame: by modality, ``rgb`` as uint8 ``(H, W, 3)``, labels in the forms of :mod:`shards.tasks`; all of
                the same height and width.

        Raises:
            UserError: when a modality is missing, or has another size than ``rgb``.
        """
        for name in self.inputs:
            if name not in frame:
                raise UserError("is missing", key=name, cure=f"give {' and '.join(self.inputs)}")
        own = {frame[name].shape[:2] for name in self.inputs}
        if len(own) > 1:
            raise UserError(f"inputs of {len(own)} sizes", key="frame", cure="register them to one camera")
        (shape,) = own
        size = self.size or shape
        resized = {n: (resize_rgb if n == RGB else resize_label)(frame[n], size) for n in self.inputs}
        tensors = {name: tensor[None].to(self.device) for name, tensor in to_tensors(resized, self.labels).items()}
        answers = self(tensors, None if size == shape else shape)
        return {name: answer[0].cpu().numpy() for name, answer in answers.items()}

    def export(self, path: str | Path) -> None:
        """Write :meth:`forward` for one frame of :attr:`size` as a ``torch.export`` archive, which torch alone can run.

        Raises:
            UserError: when there is no size to fix.
        """
        if self.size is None:
            cure = "say which it will see, such as 480x640"
            raise UserError("the network was trained on frames of many sizes", key="--size", cure=cure)
        example = {RGB: torch.zeros(1, 3, *self.size, dtype=torch.uint8)}
        example |= {task.name: blank(task, *self.size)[None] for task in self.labels}
        program = torch.export.export(self, ({name: example[name] for name in self.inputs},))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            torch.export.save(program, file)
