"""A network with its engine, loss and optimizer, and the optimizer step."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from shards.errors import UserError
from shards.log import logger
from shards.order import mix
from shards.origin import Origin
from shards.owncode import name_of, own_code
from shards.tasks import Task
from trainer.agreement import check_gradients
from trainer.batch import Batch
from trainer.definition import STRIDES
from trainer.ema import AveragedWeights
from trainer.engine import choose
from trainer.kinds import learning
from trainer.losses import MultiTaskLoss, label_counts, terms_of
from trainer.model.checked import predictions_of
from trainer.model.network import Predictions
from trainer.model.norm import Statistics, prepare_norm, train_mode
from trainer.optim import check_optimizer, make_optimizer, set_learning_rate
from trainer.runs import checkpoint
from trainer.runtime import broadcast_weights, copy_async
from trainer.sections import Train
from trainer.weighting import KEY, LossWeighting, apply_weighting, unsaved_state, values_of, without_weighting

_NOISE = 0x401  # keeps the network's random stream (dropout, if any) apart from the others
_SKIPS = 3
"""Number of consecutive steps without a finite loss after which a run ends."""


class Outcome(NamedTuple):
    """The outcome of a step, the same on all ranks: whether it was done, and which flags any rank had raised."""

    done: bool
    raised: list[bool]


class Updater:
    """A network, its loss and its optimizer under an engine.

    Args:
        network: the network, on any device; it is moved to that of the accelerator.
        loss: the loss of the predicted tasks.
        inputs: names of the network's inputs.
        labels: every task whose labels are in a batch.
        accelerator: accelerate's view of this rank.
        options: options of optimisation; the learning rate is set before each step.
        seed: seed of the network's own random numbers, such as dropout's.
        norm: see ``model.norm`` (:class:`trainer.sections.Model`).
        steps_per_epoch: length of an epoch, for weightings of losses that use it.
        optimizer: Adam or AdamW of the network's parameters; by default that of the options.
        frame: height and width of the network's input, where all frames have the same.

    Attributes:
        average: the moving average of the weights, if the options set one.
        loss: the loss of each task, summed over all ranks and the steps since the last log line, ``(1, T)``; with a
            weighting ``(2, T)``, where the second row is weighted.
        summed_steps: number of steps in that sum.
        skipped: number of consecutive steps, up to the last one, that were skipped since a value was not finite.

    Raises:
        UserError: for options that the engine of this launch does not support.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: MultiTaskLoss,
        inputs: Sequence[str],
        labels: Sequence[Task],
        accelerator: Accelerator,
        options: Train,
        *,
        seed: int = 0,
        norm: str = "batch",
        steps_per_epoch: int = 1,
        optimizer: torch.optim.Optimizer | None = None,
        frame: tuple[int, int] | None = None,
    ) -> None:
        self.accelerator, self.options, self.criterion = accelerator, options, loss
        self.inputs, self.labels = inputs, labels
        self.seed, self.norm, self.steps_per_epoch, self.frame = seed, norm, steps_per_epoch, frame
        self.format = torch.channels_last if options.channels_last else torch.contiguous_format
        self.weighting: LossWeighting | None = getattr(network, "weighting", None)
        network = prepare_norm(network, norm, accelerator)
        broadcast_weights(network.to(accelerator.device), accelerator)
        network.to(memory_format=self.format)  # type: ignore[call-overload]
        if options.compile:
            network.compile()
        self.statistics = Statistics(network)
        self.shapes = checkpoint.shapes_of(network)
        if optimizer is None:
            optimizer = make_optimizer(network, options)
        check_optimizer(optimizer, network)
        self.engine = choose(accelerator, network, optimizer, clip=options.max_grad_norm, precision=options.precision)
        if options.compile and self.engine.sharded:  # its graph would capture parameters that change in place
            hint = "leave it out, or use ddp, zero1 or zero2"
            raise UserError(f"{self.engine.name} does not train a compiled network", key="compile", hint=hint)
        self.average = AveragedWeights(self.engine.local_state(), options.ema) if options.ema is not None else None
        self.loss = torch.zeros(2 if self.weighting else 1, len(loss.tasks), device=accelerator.device)
        self.weighs = torch.tensor(loss.weights, device=accelerator.device) > 0
        self.summed_steps = self.skipped = 0
        self.gradients_checked = False
        # whether a weighting with unsaved state was reported; shipped ones have none
        self.warned = self.weighting is None or Origin.of_object(self.weighting).shipped

    def train_mode(self) -> None:
        train_mode(self.engine.network, self.norm)

    def step(self, number: int, micro: list[Batch], rate: float, flags: Sequence[bool] = ()) -> Outcome:
        """Do one optimizer step on this rank's micro-batches of a global batch.

        Ranks agree on each micro-batch before its backward pass, within which an engine may already step. Where a loss
        or a gradient is not finite, the step changes nothing but :attr:`skipped`.

        Args:
            number: number of the step, from 0.
            micro: this rank's micro-batches.
            rate: the learning rate.
            flags: flags that any rank may raise for all of them.
        """
        micro = [batch.to(self.accelerator.device) for batch in micro]
        denominators, labelled = self.count(micro)
        set_learning_rate(self.engine.optimizer, rate)
        self.statistics.snapshot()
        total, raised = torch.zeros_like(self.loss), [False] * len(flags)
        flag_values = copy_async(torch.tensor([float(flag) for flag in flags]), self.accelerator.device)
        for index, batch in enumerate(micro):
            torch.manual_seed(mix(self.seed, _NOISE, number, index * self.accelerator.num_processes + self.rank))
            with self.engine.micro_batch(last=index == len(micro) - 1):
                predictions = self.predict(batch)
                terms = terms_of(self.criterion, predictions, batch.labels, denominators)
                share = labelled / (len(micro) * self.accelerator.num_processes)
                weighted = self.weigh(terms, predictions, share)
                parts = [terms.detach(), weighted.detach()] if self.weighting else [terms.detach()]
                # the sum of all ranks, in which a value that is not finite remains so
                reduced = self.accelerator.reduce(torch.cat([*parts, flag_values]), "sum")
                loss = reduced[: self.loss.numel()].view_as(self.loss)
                values = reduced.tolist()  # waits for the device, as does the engine's check of the gradients
                raised = [before or bool(now) for before, now in zip(raised, values[loss.numel() :], strict=True)]
                if not all(map(math.isfinite, values)):
                    self.engine.discard()
                    return self.skip(raised)
                self.engine.backward(weighted.sum())
            total += loss
        if not self.gradients_checked:
            check_gradients(self.engine)
            self.gradients_checked = True
        if not self.engine.step():
            # fp16 finds its loss scale by skipping steps, but not one below 1
            scaler = self.accelerator.scaler
            return self.skip(raised, count=scaler is None or scaler.get_scale() < 1)
        self.statistics.average(self.accelerator)
        if self.weighting:
            self.observe(total[0], number // self.steps_per_epoch)
        if self.average:
            self.average.update(number)
        self.loss += total
        self.summed_steps += 1
        self.skipped = 0
        return Outcome(True, raised)

    def count(self, micro: Sequence[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the denominators of a global batch's losses, and which tasks are learnt from it, bool: those with a
        label and a weight."""
        criterion = self.criterion
        counts = torch.stack([criterion.counts(batch.labels) for batch in micro]).sum(0)
        if self.weighting and criterion.normalise != "labelled":  # all pixels, of which none may have a label
            labels = torch.stack([label_counts(batch.labels, criterion.tasks) for batch in micro]).sum(0)
            counts = torch.cat([counts, labels])
        counts = self.accelerator.reduce(counts, "sum")
        return counts[: len(criterion.tasks)], (counts[-len(criterion.tasks) :] > 0) & self.weighs

    def weigh(self, terms: torch.Tensor, predictions: Predictions, share: torch.Tensor) -> torch.Tensor:
        """Return the weighted terms, or the terms themselves without a weighting.

        Raises:
            UserError: when the network does not compute the weighting.
        """
        if self.weighting is None:
            return terms
        if predictions.weighting is None:
            values_of(self.weighting)  # raises if the weighting itself returns nothing
            message, hint = "the network does not compute it", "return self.predictions(...) from the network's forward"
            raise UserError(message, key=KEY, hint=hint)
        if not isinstance(predictions.weighting, torch.Tensor):
            values_of(self.weighting)
        return apply_weighting(self.weighting, terms, predictions.weighting, share)

    def observe(self, total: torch.Tensor, epoch: int) -> None:
        """Pass a step's losses to the weighting, and warn once if it keeps state that checkpoints do not contain."""
        assert self.weighting
        before = {} if self.warned else unsaved_state(self.weighting)
        with own_code(self.weighting, KEY):
            self.weighting.observe(total, epoch)
        if self.warned:
            return
        changed = [name for name, value in unsaved_state(self.weighting).items() if before.get(name) != value]
        if changed:
            self.warned = True
            logger.warning(
                f"note: {name_of(self.weighting)} changes {', '.join(changed)} in observe, which a run that continues "
                "forgets: make it a buffer (self.register_buffer)"
            )

    def skip(self, raised: list[bool], count: bool = True) -> Outcome:
        self.statistics.restore()
        self.skipped += count
        return Outcome(False, raised)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Context in which the engine holds the weights for evaluation and export: the averaged ones, if any."""
        return self.average.in_network() if self.average else nullcontext()

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def diverged(self) -> bool:
        """Whether so many consecutive steps were skipped that training cannot recover."""
        return self.skipped >= _SKIPS

    def predict(self, batch: Batch) -> Predictions:
        """Return the network's output for a micro-batch.

        Raises:
            UserError: when a feature map has a single value, which batch norm cannot normalise.
        """
        context = own_code(self.weighting, KEY, within=True) if self.weighting else nullcontext()
        try:
            with context:
                return predictions_of(self.engine.network, batch.inputs(self.inputs, self.format), self.criterion.tasks)
        except (ValueError, UserError) as error:  # a UserError from a user's own network
            if "more than 1 value per channel" not in str(error):
                raise
            height, width = batch.rgb.shape[2:]
            message = f"{len(batch.keys)} frame of {height}x{width} is too little for batch norm"
            hint = "give each micro-batch 2 frames or more, or larger frames (size, crop)"
            raise UserError(message, key="global_batch_size", hint=hint) from error

    def mean_loss(self) -> list[list[float]] | None:
        """Return each task's mean loss over the steps since the last call, and with a weighting also the weighted one;
        None if all steps were skipped."""
        total = self.loss.tolist()
        steps, self.summed_steps = self.summed_steps, 0
        self.loss.zero_()
        return [[value / steps for value in values] for values in total] if steps else None

    def state(self, step: int) -> checkpoint.State | None:
        """Return the content of a checkpoint after ``step`` finished steps; None except on the main process."""
        weights, moments, average = self.engine.weights(), self.engine.moments(), None
        if self.average:
            with self.average.in_network():
                average = self.engine.weights()
        if not self.accelerator.is_main_process:
            return None
        counters = {"summed": self.summed_steps, "skipped": self.skipped}
        scaler: Any = self.accelerator.scaler
        loss = self.loss.to("cpu", copy=True)
        scaler_state = scaler.state_dict() if scaler else None
        return checkpoint.State(step, weights, moments, loss, counters, scaler_state, average=average)

    def load(self, state: checkpoint.State) -> None:
        """Load the state of a checkpoint."""
        self.warm_up()
        if self.average and state.average:
            self.engine.load(state.average, state.moments)
            self.average.restart()
        self.engine.load(state.weights, state.moments)
        if state.loss.shape != self.loss.shape:  # a run from before weighted losses were stored
            state.loss = state.loss.expand_as(self.loss).clone()
        self.loss = state.loss.to(self.loss.device)
        self.summed_steps, self.skipped = state.counters["summed"], state.counters["skipped"]
        if self.accelerator.scaler and state.scaler:
            self.accelerator.scaler.load_state_dict(state.scaler)

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Load an exported network's weights; all ranks pass them whole."""
        if self.weighting:  # its tensors are not exported
            present = self.engine.replica().state_dict()
            weights = {name: present[name] for name in present.keys() - without_weighting(present)} | weights
        self.engine.load(weights, {})

    def warm_up(self) -> None:
        """Do two backward passes that change no weight. DDP sums gradients in another order from its second step on:
        without them, a continued run would differ from an uninterrupted one in the last bits. A compiled network gets
        a batch of its own size, or it would be compiled once more for any size."""
        count, (height, width) = 2, (2 * max(STRIDES),) * 2
        if self.options.compile and self.frame:
            ranks = self.accelerator.num_processes * self.options.gradient_accumulation_steps
            count, (height, width) = self.options.global_batch_size // ranks, self.frame
        labels = {task.name: torch.stack([learning(task).blank(height, width)] * count) for task in self.labels}
        batch = Batch(torch.zeros(count, 3, height, width, dtype=torch.uint8), labels, [""] * count)
        batch = batch.to(self.accelerator.device)
        for _ in range(2):
            with self.engine.micro_batch(last=True):
                predictions = self.predict(batch)
                ones = torch.ones(len(self.criterion.tasks), device=self.accelerator.device)
                terms = terms_of(self.criterion, predictions, batch.labels, ones)
                self.engine.backward(self.weigh(terms, predictions, ones).sum())
            self.engine.discard()
