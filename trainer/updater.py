"""The network under its engine, and what one optimizer step does to it."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from shards.errors import UserError
from shards.order import mix
from shards.origin import Origin
from shards.owncode import name_of, own_code
from shards.tasks import Task
from trainer.agreement import check_reached
from trainer.batch import Batch
from trainer.config import Train
from trainer.ema import AveragedWeights
from trainer.engine import choose
from trainer.kinds import learning
from trainer.losses import MultiTaskLoss
from trainer.model.backbone import STRIDES
from trainer.model.checked import predictions_of
from trainer.model.network import Predictions
from trainer.model.norm import Statistics, prepare_norm, train_mode
from trainer.optim import make_optimizer, set_learning_rate
from trainer.progress import say
from trainer.runs import checkpoint
from trainer.runtime import agree, queued
from trainer.weighting import KEY, LossWeighting, forgotten, values_of, weighed

_NOISE = 0x401  # keeps the network's random stream (dropout, if it has any) apart from the others
_SKIPS = 3
"""Steps in a row without a finite loss that end a run."""


class Outcome(NamedTuple):
    """What a step did, the same on all ranks: whether it was done, and which flags any rank had raised."""

    done: bool
    raised: list[bool]


class Updater:
    """A network, its loss and its optimizer under an engine.

    Args:
        network: with parameters on any device; it is moved to the process's.
        loss: of the tasks that it predicts.
        inputs: names of what it sees.
        labels: every task whose labels a batch holds.
        process: this rank among the others.
        options: of optimisation; ``lr`` is set anew before each step.
        seed: of the network's own random numbers, such as dropout's.
        norm: see ``model.norm`` (:class:`trainer.config.Model`).
        steps_per_epoch: what an epoch is, for a weighting of losses that asks.

    Attributes:
        average: of the weights, if the options want one.
        loss: of each task, summed over all ranks and the steps since the last log line, ``(1, T)``; with a weighting
            ``(2, T)``, the second as the weighting has it.
        summed: the steps of that sum.
        skipped: steps in a row, up to the last one, that were skipped since something was not finite.

    Raises:
        UserError: for options that the engine of this launch cannot serve.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: MultiTaskLoss,
        inputs: Sequence[str],
        labels: Sequence[Task],
        process: Accelerator,
        options: Train,
        *,
        seed: int = 0,
        norm: str = "batch",
        steps_per_epoch: int = 1,
    ) -> None:
        self.process, self.options, self.criterion, self.inputs, self.labels = process, options, loss, inputs, labels
        self.seed, self.norm, self.steps_per_epoch = seed, norm, steps_per_epoch
        self.format = torch.channels_last if options.channels_last else torch.contiguous_format
        self.weighting: LossWeighting | None = getattr(network, "weighting", None)
        network = prepare_norm(network, norm, process)
        agree(network.to(process.device), process)
        network.to(memory_format=self.format)  # type: ignore[call-overload]
        if options.compile:
            network.compile()
        self.statistics = Statistics(network)
        self.shapes = checkpoint.shapes_of(network)
        optimizer = make_optimizer(network, options)
        self.engine = choose(process, network, optimizer, clip=options.max_grad_norm, precision=options.precision)
        if options.compile and self.engine.sharded:  # its graph would hold parameters that change in place
            hint = "leave it out, or use ddp, zero1 or zero2"
            raise UserError(f"{self.engine.name} does not train a compiled network", key="train.compile", hint=hint)
        self.average = AveragedWeights(self.engine.held(), options.ema) if options.ema is not None else None
        self.loss = torch.zeros(2 if self.weighting else 1, len(loss.tasks), device=process.device)
        self.summed = self.skipped = 0
        self.reached = False
        self.told = self.weighting is None or Origin.written(self.weighting).shipped

    def train_mode(self) -> None:
        train_mode(self.engine.network, self.norm)

    def step(self, number: int, micro: list[Batch], rate: float, flags: Sequence[bool] = ()) -> Outcome:
        """One optimizer step on this rank's micro-batches of a global batch.

        Ranks agree on each micro-batch before its backward pass, inside which an engine may already step. Where a loss,
        or a gradient that the engine looks at, is not finite, the step changes nothing but :attr:`skipped`.

        Args:
            number: of the step, from 0.
            rate: the learning rate.
            flags: what any rank may want all of them to know.
        """
        micro = [batch.to(self.process.device) for batch in micro]
        counts = torch.stack([self.criterion.counts(batch.labels) for batch in micro]).sum(0)
        denominators = self.process.reduce(counts, "sum")
        set_learning_rate(self.engine.optimizer, rate)
        self.statistics.keep()
        total, raised = torch.zeros_like(self.loss), [False] * len(flags)
        asked = queued(torch.tensor([float(flag) for flag in flags]), self.process.device)
        for index, batch in enumerate(micro):
            torch.manual_seed(mix(self.seed, _NOISE, number, index * self.process.num_processes + self.rank))
            with self.engine.micro_batch(last=index == len(micro) - 1):
                predictions = self.predict(batch)
                terms = self.criterion.terms(predictions, batch.labels, denominators)
                weighed = self.weigh(terms, predictions, 1 / (len(micro) * self.process.num_processes))
                parts = [terms.detach(), weighed.detach()] if self.weighting else [terms.detach()]
                agreed = self.process.reduce(torch.cat([*parts, asked]), "sum")  # what is not finite stays so in a sum
                loss = agreed[: self.loss.numel()].view_as(self.loss)
                known = agreed.tolist()  # the one place that waits for the device
                raised = [before or bool(now) for before, now in zip(raised, known[loss.numel() :], strict=True)]
                if not all(map(math.isfinite, known)):
                    self.engine.discard()
                    return self.skip(raised)
                self.engine.backward(weighed.sum())
            total += loss
        if not self.reached:
            check_reached(self.engine)
            self.reached = True
        if not self.engine.step():
            # fp16 looks for its loss scale that way
            return self.skip(raised, count=self.options.precision != "fp16")
        self.statistics.average(self.process)
        if self.weighting:
            self.observe(total[0], number // self.steps_per_epoch)
        if self.average:
            self.average.update(number)
        self.loss += total
        self.summed += 1
        self.skipped = 0
        return Outcome(True, raised)

    def weigh(self, terms: torch.Tensor, predictions: Predictions, share: float) -> torch.Tensor:
        """The terms as the weighting has them, if there is one.

        Raises:
            UserError: when the network leaves the weighting out.
        """
        if self.weighting is None:
            return terms
        if predictions.weighting is None:
            values_of(self.weighting)  # which may give nothing itself
            what, hint = "the network does not compute it", "return self.predictions(...) from the network's forward"
            raise UserError(what, key=KEY, hint=hint)
        if not isinstance(predictions.weighting, torch.Tensor):
            values_of(self.weighting)
        return weighed(self.weighting, terms, predictions.weighting, share)

    def observe(self, total: torch.Tensor, epoch: int) -> None:
        """Show the weighting a step's losses, and say once if it remembers them where a checkpoint does not look."""
        assert self.weighting
        before = {} if self.told else forgotten(self.weighting)
        with own_code(self.weighting, KEY):
            self.weighting.observe(total, epoch)
        if self.told:
            return
        changed = [name for name, value in forgotten(self.weighting).items() if before.get(name) != value]
        if changed:
            self.told = True
            say(
                f"note: {name_of(self.weighting)} changes {', '.join(changed)} in observe, which a run that continues "
                "forgets: make it a buffer (self.register_buffer)"
            )

    def skip(self, raised: list[bool], count: bool = True) -> Outcome:
        self.statistics.restore()
        self.skipped += count
        return Outcome(False, raised)

    def to_be_used(self) -> AbstractContextManager[None]:
        """Inside, the engine holds the weights that are evaluated and exported."""
        return self.average.in_place() if self.average else nullcontext()

    @property
    def rank(self) -> int:
        return self.process.process_index

    @property
    def lost(self) -> bool:
        """Whether so many steps in a row were skipped that the next ones would be as well."""
        return self.skipped >= _SKIPS

    def predict(self, batch: Batch) -> Predictions:
        """The network's output for a micro-batch.

        Raises:
            UserError: when a feature map has a single value, which batch norm cannot normalise.
        """
        own = own_code(self.weighting, KEY, within=True) if self.weighting else nullcontext()
        try:
            with own:
                return predictions_of(self.engine.network, batch.inputs(self.inputs, self.format), self.criterion.tasks)
        except (ValueError, UserError) as error:  # the latter of a network of the user's own
            if "more than 1 value per channel" not in str(error):
                raise
            what = f"{len(batch.keys)} frame of {batch.rgb.shape[2]}x{batch.rgb.shape[3]} is too little for batch norm"
            hint = "give each micro-batch 2 frames or more, or make data.crop (data.size) larger"
            raise UserError(what, key="train.global_batch_size", hint=hint) from error

    def mean_loss(self) -> list[list[float]] | None:
        """Each task's loss, the mean of the steps since the last call, and with a weighting also as that has it; None
        if all were skipped."""
        total = self.loss.tolist()
        steps, self.summed = self.summed, 0
        self.loss.zero_()
        return [[value / steps for value in values] for values in total] if steps else None

    def state(self, step: int) -> checkpoint.State | None:
        """What a checkpoint of ``step`` finished steps holds, on the main process."""
        weights, moments, average = self.engine.weights(), self.engine.moments(), None
        if self.average:
            with self.average.in_place():
                average = self.engine.weights()
        if not self.process.is_main_process:
            return None
        counters = {"summed": self.summed, "skipped": self.skipped}
        scaler: Any = self.process.scaler
        loss = self.loss.to("cpu", copy=True)
        scaled = scaler.state_dict() if scaler else None
        return checkpoint.State(step, weights, moments, loss, counters, scaled, average=average)

    def load(self, state: checkpoint.State) -> None:
        """Put a checkpoint's state in place."""
        self.warm_up()
        if self.average and state.average:
            self.engine.load(state.average, state.moments)
            self.average.restart()
        self.engine.load(state.weights, state.moments)
        if state.loss.shape != self.loss.shape:  # of a run from before the weighed ones were kept
            state.loss = state.loss.expand_as(self.loss).clone()
        self.loss = state.loss.to(self.loss.device)
        self.summed, self.skipped = state.counters["summed"], state.counters["skipped"]
        if self.process.scaler and state.scaler:
            self.process.scaler.load_state_dict(state.scaler)

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Put an exported network's weights in place; all ranks give them whole."""
        if self.weighting:  # which an export leaves out
            own = self.engine.held()
            weights = {name: own[name] for name in own if name.startswith("weighting.")} | weights
        self.engine.load(weights, {})

    def warm_up(self) -> None:
        """Two backward passes that change no weight. DDP sums gradients in another order from its second step on, so
        that a run which continues without them would differ from an undisturbed one in the last bits."""
        side = 2 * max(STRIDES)
        labels = {task.name: torch.stack([learning(task).blank(side, side)] * 2) for task in self.labels}
        batch = Batch(torch.zeros(2, 3, side, side, dtype=torch.uint8), labels, ["", ""])
        batch = batch.to(self.process.device)
        for _ in range(2):
            with self.engine.micro_batch(last=True):
                predictions = self.predict(batch)
                terms = self.criterion.terms(predictions, batch.labels, torch.ones(len(self.criterion.tasks)))
                self.engine.backward(self.weigh(terms, predictions, 1.0).sum())
            self.engine.discard()
