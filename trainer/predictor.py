"""A trained network as a robot has it: from what a camera gives to labels, in one module.

.. code-block:: python

    predictor = Predictor("runs/warehouse/ummt-ps/seed-0/checkpoints/last")
    labels = predictor.predict({"rgb": picture})  # {"semseg": (H, W) uint8, "depth": (H, W) float32 in metres, ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shards.atomic import atomic_file
from shards.errors import UserError
from shards.resize import resize_frame
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.decision import resized
from trainer.kinds import learning
from trainer.model.architecture import RGB
from trainer.runs import checkpoint


class Predictor(nn.Module):
    """An exported network with what stands before and behind it: bytes to floats, outputs to labels.

    Args:
        model: the folder of an exported network (``checkpoints/last``), or a file in it.
        size: (height, width) that :meth:`predict` gives the network; None for that of the frames it was trained on.
        network: ``my.module:Name``, where the network is a class of your own and its module is not imported yet: what a
            folder names is not imported unasked.

    Attributes:
        inputs: the names of what it takes.
        labels: those tasks whose labels are among them.
        tasks: what it says.
        size: as given or found; None where the training frames had sizes of their own: pictures are then taken as
            they are.
        folder: of the exported network.
        facts: what ``model.json`` says.

    Raises:
        UserError: when there is no network, it is damaged, or it does not know the size that is not given.
    """

    def __init__(self, model: str | Path, size: tuple[int, int] | None = None, network: str | None = None) -> None:
        super().__init__()
        folder = Path(model)
        folder = folder.parent if folder.is_file() else folder
        self.folder = folder
        if not (folder / "model.json").exists():
            hint = "give a run's checkpoints/last, or the model.safetensors in it"
            raise UserError("holds no trained network", file=model, hint=hint)
        self.network, self.facts = checkpoint.load_exported(folder, network)
        architecture = self.network.architecture
        self.inputs, self.tasks, self.labels = architecture.inputs, architecture.tasks, architecture.input_tasks
        self.size = size or _trained_size(folder, self.facts)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(
        self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None, sure: bool = True
    ) -> dict[str, Tensor]:
        """Labels of a batch, on the device of the network.

        Args:
            inputs: by modality, in the form that :mod:`trainer.augment` lists, with a batch before it: ``rgb`` is
                uint8 ``(B, 3, H, W)``, a depth float32 ``(B, 1, H, W)`` in metres, 0 where nothing was measured.
            size: (height, width) of the labels; None for that of the inputs.
            sure: whether confidence is wanted.

        Returns:
            By task, classes as uint8 ``(B, H, W)``, quantities as float32 ``(B, H, W)`` in the task's unit, unit
            vectors as float32 ``(B, H, W, 3)``; and the confidence of classes, float32 ``(B, H, W)`` in 0..1, as
            ``TASK.confidence``.

        Raises:
            UserError: when ``rgb`` is not uint8.
        """
        if RGB in self.inputs and inputs[RGB].dtype != torch.uint8:
            raise UserError(f"is {inputs[RGB].dtype}, not uint8", key=RGB, hint="give bytes, 0 to 255")
        final = self.network({n: inputs[n].float() / 255 if n == RGB else inputs[n] for n in self.inputs}).final
        labels = {}
        for task in self.tasks:
            parts = resized(final[task.name], size) if size else [final[task.name]]
            found = [(learning(task).decide(part), learning(task).confidence(part) if sure else None) for part in parts]
            labels[task.name] = torch.cat([label for label, _ in found], 1)
            confidences = [of for _, of in found if of is not None]
            if confidences:
                labels[f"{task.name}.confidence"] = torch.cat(confidences, 1)
        return labels

    @torch.inference_mode()
    def predict(self, frame: Mapping[str, Any], sure: bool = True) -> dict[str, np.ndarray]:
        """Labels of one frame, at its own size: as :meth:`forward` returns them, without a batch.

        Args:
            frame: by modality, ``rgb`` as uint8 ``(H, W, 3)``, labels in the forms of :mod:`shards.tasks`, quantities
                and vectors as any floats; all of the same height and width. What is not finite, and a negative
                quantity, is taken for no measurement.
            sure: whether confidence is wanted.

        Raises:
            UserError: when a modality is missing, of another shape or type, or has another size than the others.
        """
        labels = {task.name: task for task in self.labels}
        given = {}
        for name in self.inputs:
            if name not in frame:
                raise UserError("is missing", key=name, hint=f"give {' and '.join(self.inputs)}")
            given[name] = _checked(name, labels.get(name), np.asarray(frame[name]))
        own = {array.shape[:2] for array in given.values()}
        if len(own) > 1:
            raise UserError(f"inputs of {len(own)} sizes", key="frame", hint="register them to one camera")
        (shape,) = own
        size = self.size or shape
        tensors = to_tensors(resize_frame(given, size), self.labels)
        tensors = {name: tensor[None].contiguous().to(self.device) for name, tensor in tensors.items()}
        answers = self(tensors, None if size == shape else shape, sure)
        return {name: answer[0].cpu().numpy() for name, answer in answers.items()}

    def export(self, path: str | Path) -> None:
        """Write :meth:`forward` for one frame of :attr:`size` as a ``torch.export`` archive, which torch alone can run.

        Raises:
            UserError: when there is no size to fix, or the file cannot be written.
        """
        if self.size is None:
            hint = "say which it will see, such as 480x640"
            raise UserError("the network was trained on frames of many sizes", key="--size", hint=hint)
        example = {RGB: torch.zeros(1, 3, *self.size, dtype=torch.uint8)}
        example |= {task.name: learning(task).blank(*self.size)[None] for task in self.labels}
        program = torch.export.export(self, ({name: example[name].to(self.device) for name in self.inputs},))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            torch.export.save(program, file)


def _trained_size(folder: Path, facts: Mapping[str, Any]) -> tuple[int, int] | None:
    if "size" not in facts:
        hint = "give the size of its training frames (data.size, or what `tutelage inspect` says)"
        raise UserError("is of a version that did not note what size the network sees", file=folder, hint=hint)
    size = facts["size"]
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise UserError(f"size {size!r} is no [height, width]", file=folder / "model.json", hint="copy it again")
    return tuple(size) if size else None


def _checked(name: str, task: Task | None, array: np.ndarray) -> np.ndarray:
    """An input in the form that the network takes; ``task`` is None for RGB."""
    if task is not None:
        return learning(task).checked(name, array)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        what = f"has the shape {array.shape}, where (height, width, 3) is due"
        raise UserError(what, key=name, hint="convert it")
    if array.dtype != np.uint8:
        raise UserError(f"is {array.dtype}, not uint8", key=name, hint="give one byte a number, 0 to 255")
    return array
