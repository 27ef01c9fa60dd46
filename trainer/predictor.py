"""A trained network as used on a robot: from camera images to labels, in one module.

.. code-block:: python

    predictor = Predictor("runs/warehouse/ummt-ps/seed-0/checkpoints/last")
    labels = predictor.predict({"rgb": picture})  # {"semseg": (H, W) uint8, "depth": (H, W) float32 in metres, ...}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shards.arguments import check_kind, check_path, check_size
from shards.atomic import atomic_file
from shards.errors import UserError
from shards.resize import resize_frame
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.kinds import learning
from trainer.model.architecture import RGB
from trainer.resize import resize_output
from trainer.runs import artifacts, checkpoint


class Predictor(nn.Module):
    """An exported network with its pre- and postprocessing: bytes to floats, outputs to labels.

    Args:
        model: the folder of an exported network (``checkpoints/last``), or a file in it.
        size: (height, width) that :meth:`predict` resizes to; None for that of the training frames.
        network: ``my.module:Name``, for a network class of your own whose module is not imported yet: a module that a
            folder names is not imported otherwise.

    Attributes:
        inputs: names of the network's inputs.
        labels: the tasks whose labels are inputs.
        tasks: the predicted tasks.
        size: the given size, or that of the training frames; None where those differed in size, and pictures are not
            resized.
        folder: folder of the exported network.
        facts: content of ``model.json``.

    Raises:
        UserError: when there is no network, it is damaged, or the size is neither given nor recorded, or is
            not a height and a width.
    """

    def __init__(self, model: str | Path, size: tuple[int, int] | None = None, network: str | None = None) -> None:
        super().__init__()
        check_path("model", model)
        check_size("size", size)
        folder = Path(model)
        folder = folder.parent if folder.is_file() else folder
        self.folder = folder
        if not (folder / "model.json").exists():
            raise artifacts.missing_network(Path(model))
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
        """Return the labels of a batch, on the device of the network.

        Args:
            inputs: by modality, in the form that :mod:`trainer.augment` lists, with a batch dimension: ``rgb`` is uint8
                ``(B, 3, H, W)``, depth is float32 ``(B, 1, H, W)`` in metres, 0 where nothing was measured.
            size: (height, width) of the labels; None for that of the inputs.
            sure: whether to return confidence as well.

        Returns:
            By task, classes as uint8 ``(B, H, W)``, quantities as float32 ``(B, H, W)`` in the task's unit, unit
            vectors as float32 ``(B, H, W, 3)``; and the confidence of classes, float32 ``(B, H, W)`` in 0..1, as
            ``TASK.confidence``.

        Raises:
            UserError: when an input is missing or not a tensor, or ``rgb`` is not uint8.
        """
        for name in self.inputs:
            if name not in inputs:
                raise _missing(name, self.inputs)
            check_kind(name, inputs[name], Tensor)
        if RGB in self.inputs and inputs[RGB].dtype != torch.uint8:
            raise UserError(f"is {inputs[RGB].dtype}, not uint8", key=RGB, hint="give bytes, 0 to 255")
        final = self.network({n: inputs[n].float() / 255 if n == RGB else inputs[n] for n in self.inputs}).final
        labels = {}
        for task in self.tasks:
            parts = resize_output(final[task.name], size) if size else [final[task.name]]
            pairs = [(learning(task).decide(part), learning(task).confidence(part) if sure else None) for part in parts]
            labels[task.name] = torch.cat([label for label, _ in pairs], 1)
            confidences = [confidence for _, confidence in pairs if confidence is not None]
            if confidences:
                labels[f"{task.name}.confidence"] = torch.cat(confidences, 1)
        return labels

    @torch.inference_mode()
    def predict(self, frame: Mapping[str, Any], sure: bool = True) -> dict[str, np.ndarray]:
        """Return the labels of one frame, at its own size: as from :meth:`forward`, without the batch dimension.

        Args:
            frame: by modality, ``rgb`` as uint8 ``(H, W, 3)``, labels in the forms of :mod:`shards.tasks`, quantities
                and vectors as any floats; all of the same height and width. Values that are not finite, and negative
                quantities, count as no measurement.
            sure: whether to return confidence as well.

        Raises:
            UserError: when a modality is missing, of another shape or type, or has another size than the others.
        """
        labels = {task.name: task for task in self.labels}
        arrays = {}
        for name in self.inputs:
            if name not in frame:
                raise _missing(name, self.inputs)
            arrays[name] = _check_input(name, labels.get(name), np.asarray(frame[name]))
        shapes = {array.shape[:2] for array in arrays.values()}
        if len(shapes) > 1:
            raise UserError(f"inputs of {len(shapes)} sizes", key="frame", hint="register them to one camera")
        (shape,) = shapes
        size = self.size or shape
        tensors = to_tensors(resize_frame(arrays, size), self.labels)
        tensors = {name: tensor[None].contiguous().to(self.device) for name, tensor in tensors.items()}
        batch = self(tensors, None if size == shape else shape, sure)
        return {name: label[0].cpu().numpy() for name, label in batch.items()}

    def export(self, path: str | Path) -> None:
        """Write :meth:`forward` for one frame of :attr:`size` as a ``torch.export`` archive, which needs only torch.

        Raises:
            UserError: when :attr:`size` is None, or the file cannot be written.
        """
        if self.size is None:
            hint = "give the size of its inputs, such as 480x640"
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
        raise UserError("is of a version that did not record the network's input size", file=folder, hint=hint)
    size = facts["size"]
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise UserError(f"size {size!r} is not [height, width]", file=folder / "model.json", hint="copy it again")
    return tuple(size) if size else None


def _missing(name: str, inputs: Sequence[str]) -> UserError:
    return UserError("is missing", key=name, hint=f"give {' and '.join(inputs)}")


def _check_input(name: str, task: Task | None, array: np.ndarray) -> np.ndarray:
    """Check an input, and return it in the form that the network takes; ``task`` is None for RGB."""
    if task is not None:
        return learning(task).checked(name, array)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        message = f"has the shape {array.shape}, expected (height, width, 3)"
        raise UserError(message, key=name, hint="convert it")
    if array.dtype != np.uint8:
        raise UserError(f"is {array.dtype}, not uint8", key=name, hint="give one byte per number, 0 to 255")
    return array
