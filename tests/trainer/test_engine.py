"""Every engine on two real ranks, compared with plain torch in one process that has no ranks.

The file is also the program that the ranks run.
"""

import json
import math
import os
import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.errors import UserError
from trainer.ema import AveragedWeights
from trainer.engine import Engine, choose
from trainer.runtime import make_accelerator

ENGINES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
CONFIGS = Path(__file__).parents[2] / "configs" / "engine"
RANKS, MICRO, STEPS, SAVED = 2, 2, 10, 5
CLIP = 8.8
"""Shorter than the gradient of some steps only: of all of them, it would hide gradients that are too large."""


class Output(NamedTuple):
    final: dict[str, Tensor]
    initial: list[dict[str, Tensor]]


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class Network(nn.Module):
    """Sizes that no number of ranks divides, a block that FSDP shards by itself, and containers that it must not."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(3, 33, 4), Block(33, 105, 2), Block(105, 111, 1)])
        self.heads = nn.ModuleDict({name: nn.Conv2d(111, size, 1) for name, size in {"classes": 5, "depth": 1}.items()})
        self.scale = nn.Parameter(torch.ones(3))
        self.mean: Tensor
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5), persistent=False)

    def forward(self, x: Tensor) -> Output:
        x = (x - self.mean) * self.scale[:, None, None]
        initial = []
        for block in self.blocks:
            x = block(x)
            initial.append({"features": x.mean((2, 3))})
        return Output({name: head(x) for name, head in self.heads.items()}, initial)


def network(seed: int) -> Network:
    torch.manual_seed(seed)
    return Network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    # A gradient of almost nothing would be a whole step under the usual epsilon, and its sign is chance.
    return torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=1e-2, eps=1e-3, fused=True)


def rate(step: int) -> float:
    return 3e-3 * (1 - step / STEPS) + 1e-4


def frames(step: int, micro: int, rank: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * step + 10 * micro + rank)
    return torch.rand(2, 3, 32, 64, generator=generator).contiguous(memory_format=torch.channels_last)


def loss_part(output: Output, x: Tensor) -> Tensor:
    """Return this micro-batch's part of the loss, which differs between micro-batches."""
    small = F.avg_pool2d(x, 8)
    classes = F.cross_entropy(output.final["classes"].float(), (small.mean(1) * 5).long(), reduction="sum")
    depth = (output.final["depth"].float() - 3 * small[:, :1]).abs().sum()
    deep = sum(scale["features"].float().square().sum() for scale in output.initial)
    return (classes + depth + 0.01 * deep) * (1 + x[0, 0, 0, 0]) / 200


# ---- what a rank runs


def start(seed: int, precision: str = "fp32", clip: float | None = CLIP) -> Engine:
    accelerator = make_accelerator(precision)
    plain = network(seed)
    places = [buffer.data_ptr() for buffer in plain.buffers()]
    engine = choose(accelerator, plain, optimizer(plain), clip=clip, precision=precision)
    assert [buffer.data_ptr() for buffer in engine.plain.buffers()] == places  # others may have kept views of them
    return engine


def train(engine: Engine, first: int, last: int, *, skip: bool = False) -> list[float]:
    """Return the losses of the steps; with ``skip``, each step is first begun with other data and discarded, and then
    done with a gradient that is not finite."""
    rank, losses = engine.accelerator.process_index, []
    engine.network.train()
    for step in range(first, last):
        for tried in (0.5, 1.5, 2, 1) if skip else ():  # micro-batches; half of one is its forward
            saved = [buffer.clone() for buffer in engine.plain.buffers()]
            for micro in range(math.ceil(tried)):
                x = frames(step + 50, micro, rank)
                with engine.micro_batch(last=micro == MICRO - 1):
                    loss = loss_part(engine.network(x), x)
                    if micro + 1 <= tried:
                        engine.backward(loss)
            engine.discard()
            for buffer, before in zip(engine.plain.buffers(), saved, strict=True):
                buffer.copy_(before)
        if skip:
            overflow(engine, step)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate(step)
        total = torch.zeros(())
        for micro in range(MICRO):
            x = frames(step, micro, rank)
            with engine.micro_batch(last=micro == MICRO - 1):
                loss = loss_part(engine.network(x), x)
                engine.backward(loss)
            total += loss.detach()
        assert engine.step()
        for buffer in engine.plain.buffers():
            if buffer.is_floating_point():
                buffer.copy_(engine.accelerator.reduce(buffer.clone(), "mean"))
        losses.append(engine.accelerator.reduce(total, "sum").item())
    return losses


def overflow(engine: Engine, step: int) -> None:
    """Do a step for which one rank's backward pass computes a gradient that is not finite, from finite losses."""
    rank = engine.accelerator.process_index
    saved = [buffer.clone() for buffer in engine.plain.buffers()]
    for micro in range(MICRO):
        x = frames(step + 50, micro, rank)
        with engine.micro_batch(last=micro == MICRO - 1):
            output = engine.network(x)
            if rank == 1 and micro == 0:
                output.final["depth"].register_hook(lambda gradient: gradient * (math.nan if step % 2 else math.inf))
            loss = loss_part(output, x)
            assert loss.isfinite()
            engine.backward(loss)
    assert not engine.step()
    for buffer, before in zip(engine.plain.buffers(), saved, strict=True):
        buffer.copy_(before)


def write(engine: Engine, path: Path) -> None:
    weights, moments = engine.weights(), engine.moments()
    if engine.accelerator.is_main_process:
        flat = {f"weight:{name}": tensor for name, tensor in weights.items()}
        flat |= {f"{kind}:{name}": tensor for name, tensors in moments.items() for kind, tensor in tensors.items()}
        safetensors.torch.save_file(flat, path)
    else:
        assert not weights and not moments
    engine.accelerator.wait_for_everyone()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    weights: dict[str, Tensor] = {}
    moments: dict[str, dict[str, Tensor]] = {}
    for key, tensor in safetensors.torch.load_file(path).items():
        kind, _, name = key.partition(":")
        if kind == "weight":
            weights[name] = tensor
        else:
            moments.setdefault(name, {})[kind] = tensor
    return weights, moments


def evaluations(engine: Engine) -> list[float]:
    """Return the sums of a forward of the replica on this rank alone, and of the network on all ranks."""
    rank = engine.accelerator.process_index
    x = frames(99, 0, 0)
    values = []
    with torch.no_grad():
        replica = engine.replica().eval()
        for _ in range(1 + 2 * rank):  # no rank waits for another
            alone = replica(x).final["depth"]
        engine.accelerator.wait_for_everyone()
        engine.network.eval()
        values = [alone.sum().item(), engine.network(x).final["depth"].sum().item()]
    engine.network.train()
    return values


def precisions(engine: Engine) -> list[str]:
    """Return the data types of the outputs of the replica and of the network in training."""
    x = frames(99, 0, 0)
    with torch.no_grad():
        return [str(model(x).final["depth"].dtype) for model in (engine.replica(), engine.network)]


def averages(engine: Engine) -> dict[str, object]:
    """Return how far the averaged weights are from those of whole tensors and which weights changed, or the error.

    The engine takes its next step in between."""
    try:
        average = AveragedWeights(engine.local_state(), decay=0.5)
    except UserError as error:
        return {"refused": str(error)}
    before = engine.weights()
    train(engine, STEPS, STEPS + 1)
    average.update(step=0)  # at step 0 a tenth of the old average remains
    after = engine.weights()
    with average.in_network():
        averaged = engine.weights()
    learnt = [name for name, tensor in after.items() if tensor.is_floating_point()]
    expected = {name: 0.1 * before[name] + 0.9 * after[name] for name in learnt}
    return {
        "far": max((float((averaged[name] - tensor).abs().max()) for name, tensor in expected.items()), default=0.0),
        "moved": sum(not torch.equal(before[name], after[name]) for name in learnt),
        "changed": [name for name, tensor in engine.weights().items() if not torch.equal(tensor, after[name])],
    }


def uninterrupted(folder: Path, name: str) -> dict[str, object]:
    engine = start(seed=0)
    losses = train(engine, 0, SAVED)
    write(engine, folder / f"{name}.saved")
    losses += train(engine, SAVED, STEPS)
    write(engine, folder / f"{name}.end")
    facts: dict[str, object] = {"name": engine.name, "losses": losses, "elements": engine.local_elements()}
    facts |= {"ranks": engine.accelerator.num_processes, "evaluations": evaluations(engine)}
    facts["averages"] = averages(engine)
    half = start(seed=0, precision="bf16")
    return facts | {"bf16": train(half, 0, 3), "computes in": precisions(half)}


def continued(folder: Path, name: str) -> dict[str, object]:
    engine = start(seed=1)
    engine.load(*read(folder / f"{name}.saved"))
    write(engine, folder / f"{name}.loaded")
    losses = train(engine, SAVED, STEPS, skip=True)
    write(engine, folder / f"{name}.again")
    other = start(seed=2, clip=None)
    write(other, folder / f"{name}.untouched")
    overflow(other, 0)
    write(other, folder / f"{name}.overflow")
    other = start(seed=2)
    other.load(*read(folder / "reference.saved"))
    return {"losses": losses, "other": train(other, SAVED, STEPS)}


def main(tasks: str, folder: Path, name: str) -> None:
    for task in tasks.split(","):
        facts = {"uninterrupted": uninterrupted, "continued": continued}[task](folder, name)
        (folder / f"{name}.{task}.{os.environ['RANK']}.json").write_text(json.dumps(facts))
    torch.distributed.barrier()
    os._exit(0)  # how a backend's threads end with Python is not tested here


# ---- what the tests see


class Run(NamedTuple):
    """An engine's two launches: the facts of each rank, and the files that rank 0 wrote."""

    folder: Path
    name: str
    first: list[dict]
    second: list[dict]

    def state(self, which: str) -> dict[str, Tensor]:
        return safetensors.torch.load_file(self.folder / f"{self.name}.{which}")


class Reference(NamedTuple):
    folder: Path
    losses: list[float]
    clipped: int


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The whole global batch in one process, without an engine, and its state after some steps in a file."""
    folder = tmp_path_factory.mktemp("engines")
    plain = network(0)
    adam = optimizer(plain)
    losses, clipped = [], 0
    for step in range(STEPS):
        if step == SAVED:
            save_reference(plain, adam, folder / "reference.saved")
        adam.param_groups[0]["lr"] = rate(step)
        total = torch.zeros(())
        for micro, rank in product(range(MICRO), range(RANKS)):
            x = frames(step, micro, rank)
            loss = loss_part(plain(x), x)
            loss.backward()
            total += loss.detach()
        clipped += bool(nn.utils.clip_grad_norm_(plain.parameters(), CLIP) > CLIP)
        adam.step()
        adam.zero_grad()
        losses.append(total.item())
    save_reference(plain, adam, folder / "reference.end")
    return Reference(folder, losses, clipped)


def save_reference(plain: Network, adam: torch.optim.Optimizer, path: Path) -> None:
    flat = {f"weight:{name}": tensor for name, tensor in plain.state_dict().items()}
    flat |= {f"{kind}:{name}": value for name, p in plain.named_parameters() for kind, value in adam.state[p].items()}
    safetensors.torch.save_file({key: tensor.clone().contiguous() for key, tensor in flat.items()}, path)


@pytest.fixture(scope="module", params=ENGINES)
def run(request: pytest.FixtureRequest, reference: Reference) -> Run:
    name, folder = request.param, reference.folder
    tasks = ["uninterrupted", "continued"]
    from ranks import launch  # the ranks themselves cannot import it

    # zero1 and zero2, which differ little from zero3, do both in one launch to save time, from another network
    for task_list in [",".join(tasks)] if name in ("zero1", "zero2") else tasks:
        arguments = (__file__, task_list, str(folder), name)
        env = {"TORCH_EXTENSIONS_DIR": str(folder / f"{name}.compiled")}
        process = launch(RANKS, *arguments, config=CONFIGS / f"{name}.yaml", env=env, timeout=280)
        assert process.returncode == 0, process.stderr[-6000:]
    facts = (
        [json.loads((folder / f"{name}.{task}.{rank}.json").read_text()) for rank in range(RANKS)] for task in tasks
    )
    return Run(folder, name, *facts)


def parameters() -> int:
    return sum(p.numel() for p in Network().parameters())


def test_engine_is_the_one_that_was_asked_for(run):
    assert [(rank["name"], rank["ranks"]) for rank in run.first] == [(run.name, RANKS)] * RANKS


def test_compiles_nothing(run):
    """torch compiles under a file lock: if a process is killed meanwhile, all later ones wait for ever."""
    assert not (run.folder / f"{run.name}.compiled").exists()


def test_steps_are_those_of_the_whole_batch_in_one_process(run, reference):
    assert 0 < reference.clipped < STEPS
    for rank in run.first:
        assert rank["losses"] == pytest.approx(reference.losses, rel=1e-4)
    expected = safetensors.torch.load_file(reference.folder / "reference.end")
    state = run.state("end")
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        if "running" not in name and "num_batches" not in name:  # a rank sees its own micro-batches only
            torch.testing.assert_close(
                tensor, expected[name], rtol=1e-2, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_ranks_hold_their_parts_only(run):
    elements, moments = zip(*(rank["elements"] for rank in run.first), strict=True)
    whole = parameters()
    if run.name == "ddp":
        assert moments == (2 * whole, 2 * whole)
    else:
        assert max(moments) < 1.02 * whole and sum(moments) >= 2 * whole
    if run.name in ("zero3", "fsdp2"):
        assert max(elements) < 0.55 * whole and sum(elements) >= whole
    else:
        assert elements == (whole, whole)


def test_weights_can_be_averaged_in_parts(run):
    if run.name == "zero3":
        assert all("zero3 does not average weights" in rank["averages"]["refused"] for rank in run.first)
        return
    assert run.first[0]["averages"]["moved"] > 5
    for rank in run.first:
        assert rank["averages"]["far"] < 1e-6 and rank["averages"]["changed"] == []


def test_continued_in_other_processes_bit_by_bit(run):
    for before, after in (("saved", "loaded"), ("end", "again")):
        expected, state = run.state(before), run.state(after)
        assert state.keys() == expected.keys()
        assert [name for name in state if not torch.equal(state[name], expected[name])] == []
    for first, second in zip(run.first, run.second, strict=True):
        assert second["losses"] == first["losses"][SAVED:]


def test_a_gradient_that_is_not_finite_changes_nothing_without_clipping_too(run):
    """With clipping: :func:`train` of the continued run."""
    expected, state = run.state("untouched"), run.state("overflow")
    assert state.keys() == expected.keys()
    assert [name for name in state if not torch.equal(state[name], expected[name])] == []


def test_continues_what_another_engine_began(run, reference):
    for rank in run.second:
        assert rank["other"] == pytest.approx(reference.losses[SAVED:], rel=1e-4)


def test_evaluates_alone_and_together(run):
    assert len({value for rank in run.first for value in rank["evaluations"]}) == 1


def test_trains_in_bf16(run, reference):
    for rank in run.first:
        assert rank["bf16"] == pytest.approx(reference.losses[:3], rel=2e-2)
        assert rank["bf16"] != rank["losses"][:3]


def test_evaluates_in_fp32_what_trains_in_bf16(run):
    for rank in run.first:
        assert rank["computes in"] == ["torch.float32", "torch.bfloat16"]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
