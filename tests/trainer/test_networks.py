"""Networks other than mtinet, by name: shapes, learning, resumed runs, exports, engines, refusals."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import DEFAULT_WIDTHS
from ranks import launch
from runs import LONG, assert_same_run
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import interpolate, pad
from torch.utils.flop_counter import FlopCounterMode

from shards.errors import UserError
from shards.read import Readers
from shards.tasks import IGNORE, Task, palette
from trainer.configfile import load
from trainer.losses import MultiTaskLoss
from trainer.model.architecture import Architecture
from trainer.model.create import create_model
from trainer.model.network import NETWORKS, build
from trainer.model.size import size_of
from trainer.predictor import Predictor
from trainer.runs import checkpoint
from trainer.trainstage import train

ENGINES = Path(__file__).parents[2] / "configs" / "engine"
SEMSEG = Task("semseg", "classes", tuple(f"class{i}" for i in range(5)), palette(5))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
BACKBONES = {"fpn": "test_efficientnet", "dpt": "test_vit"}
NAMES = list(BACKBONES)


def description(name: str, inputs: tuple[str, ...] = ("rgb",), **options: Any) -> Architecture:
    settings = {"backbone": BACKBONES[name], "statistics": {"depth": (2.5, 1.5)}, "name": name} | options
    return Architecture(inputs=inputs, tasks=(SEMSEG, DEPTH), input_tasks=(DEPTH,), **settings)


def seeded(name: str, inputs: tuple[str, ...] = ("rgb",), **options: Any) -> Any:
    torch.manual_seed(0)
    return build(description(name, inputs, **options))


def batch(height: int = 64, width: int = 64, size: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(size, 3, 4, 4, generator=generator)
    rgb = interpolate(coarse, (height, width), mode="bilinear")
    depth = 1 + 2 * rgb[:, :1]
    depth[:, :, : height // 4] = 0
    semseg = (rgb[:, 1] * 4.99).to(torch.uint8)
    semseg[:, height // 2 :] = IGNORE
    return {"rgb": rgb, "depth": depth, "semseg": semseg}


def test_every_network_that_is_shipped_is_tested():
    assert {*NAMES, "mtinet"} == {*NETWORKS}


@pytest.mark.parametrize("inputs", [("rgb",), ("rgb", "depth"), ("depth", "rgb"), ("depth",)], ids=" ".join)
@pytest.mark.parametrize("name", NAMES)
def test_shapes_at_any_size(name, inputs):
    network = seeded(name, inputs)
    for height, width in ((64, 96), (50, 70), (33, 31)):
        for training in (True, False):
            predictions = network.train(training)(batch(height, width))
            assert {task: x.shape for task, x in predictions.final.items()} == {
                "semseg": (2, 5, height, width),
                "depth": (2, 1, height, width),
            }
            assert predictions.initial == [] and predictions.weighting is None


@pytest.mark.parametrize("inputs", [("rgb",), ("rgb", "depth")], ids=" ".join)
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_each_input_is_seen(name, inputs):
    network, samples = seeded(name, inputs), batch()
    for task in inputs:
        samples[task].requires_grad_()
    for prediction in network.eval()(samples).final.values():
        gradients = torch.autograd.grad(
            prediction.square().mean(), [samples[task] for task in inputs], retain_graph=True
        )
        assert all(gradient.abs().max() > 0 for gradient in gradients)
    final = network.train()(samples).final
    sum((x * torch.linspace(-1, 2, x.numel()).view(x.shape)).mean() for x in final.values()).backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


@pytest.mark.parametrize("inputs", [("rgb",), ("rgb", "depth")], ids=" ".join)
@pytest.mark.parametrize("name", NAMES)
def test_it_overfits_one_batch(name, inputs):
    network, samples = seeded(name, inputs), batch()
    loss = MultiTaskLoss((SEMSEG, DEPTH))
    counts = loss.counts(samples)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    values = []
    for _ in range(60):
        value = loss(network(samples), samples, counts)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.25 * values[0] and np.isfinite(values).all()


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_are_padded_and_cropped(name):
    network, samples = seeded(name, ("rgb", "depth")).eval(), batch(50, 70)
    padded = {"rgb": pad(samples["rgb"], (0, 26, 0, 14), "replicate"), "depth": pad(samples["depth"], (0, 26, 0, 14))}
    whole = network(padded).final["depth"][..., :50, :70]
    torch.testing.assert_close(network(samples).final["depth"], whole)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_of_a_quantity_start_at_its_mean(name):
    network = seeded(name)
    assert [layer.bias.tolist() for layer in network.last_layers("depth")] == [[2.5]]


@pytest.mark.parametrize("name", NAMES)
def test_its_size_is_told(name):
    architecture = description(name, ("rgb", "depth"))
    size = size_of(architecture, (50, 70))
    network = seeded(name, ("rgb", "depth"))
    assert size.backbone == sum(p.numel() for p in network.backbones.parameters()) > 0
    assert size.backbone + size.decoder == sum(p.numel() for p in network.parameters())
    # on a CPU the counter supports no other attention
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network.eval()(batch(50, 70, size=1))
    assert sum(size.multiply_adds) == counter.get_total_flops() // 2 and min(size.multiply_adds) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_description_names_it(name):
    architecture = description(name, ("rgb", "depth"))
    entry = architecture.to_json()
    assert entry["name"] == name and Architecture.from_json(entry) == architecture
    model = create_model(
        name, backbone=BACKBONES[name], inputs=["rgb", "depth"], tasks=(SEMSEG, DEPTH), statistics={"depth": (2.5, 1.5)}
    )
    assert type(model) is NETWORKS[name] and model.state_dict().keys() == build(architecture).state_dict().keys()


def test_a_description_without_a_name_is_mtinets():
    entry = Architecture("test_efficientnet", ("rgb",), (SEMSEG,)).to_json()
    del entry["name"]
    assert Architecture.from_json(entry).name == "mtinet"


# Runs ----------------------------------------------------------------------------------------------------------------


def options(name: str) -> list[str]:
    return [f"model.name={name}", f"model.backbone={BACKBONES[name]}", DEFAULT_WIDTHS]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_continues_as_if_nothing_had_been(make, name):
    overrides = [*LONG, *options(name), "loss.weighting=uncertainty", "experiment=whole"]
    whole = make("teacher", *overrides)
    train(whole)
    resumed = make("teacher", *overrides, f"run.path={whole.folder}-again")
    shutil.copytree(whole.folder, resumed.folder, ignore=shutil.ignore_patterns("last", "step-00000024"))
    train(resumed)
    assert_same_run(resumed.folder, whole.folder)


@pytest.mark.parametrize("name", NAMES)
def test_exports_and_predictions_are_the_trained_network(make, scenes_dataset, tmp_path, name):
    run = make("teacher", *options(name), "train.steps=3", "checkpoint.every=3", "evaluate.every=0")
    last = train(run)
    network, facts = checkpoint.load_exported(last)
    assert type(network) is NETWORKS[name] and facts["architecture"]["name"] == name
    frame = Readers(scenes_dataset, "val")[0].decode(0)
    predictor = Predictor(last)
    labels = predictor.predict({"rgb": frame["rgb"], "depth": frame["depth"]})
    inputs = {
        "rgb": torch.from_numpy(frame["rgb"].copy()).permute(2, 0, 1)[None].contiguous(),
        "depth": torch.from_numpy(frame["depth"].copy())[None, None],
    }
    final = network.eval()(inputs | {"rgb": inputs["rgb"] / 255}).final
    assert np.array_equal(labels["semseg"], final["semseg"][0].argmax(0).numpy())
    predictor.export(tmp_path / "net.pt2")
    archived = torch.export.load(tmp_path / "net.pt2").module()(inputs)
    assert all(np.array_equal(archived[task][0].numpy(), labels[task]) for task in ("semseg", "depth"))


@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
@pytest.mark.parametrize("name", NAMES)
def test_engines_train_what_one_process_trains(make, configs, tmp_path, name, engine):
    """Two real ranks, with a learnt weighting, whose parameters engines gather in the network's forward."""
    overrides = [
        *options(name),
        "loss.weighting=uncertainty",
        "train.steps=3",
        "checkpoint.every=3",
        "model.norm=frozen",
    ]
    arguments = (str(configs / "teacher.yaml"), f"run.root={tmp_path / 'runs'}", *overrides, "evaluate.every=0")
    process = launch(2, "-m", "tutelage", "train", *arguments, "experiment=parts", config=ENGINES / f"{engine}.yaml")
    assert process.returncode == 0, process.stderr[-3000:]
    alone = make("teacher", *overrides, "evaluate.every=0", "experiment=alone")
    parts = make("teacher", *overrides, "evaluate.every=0", "experiment=parts")
    train(alone)
    one, other = (checkpoint.load_exported(run.checkpoints / "last")[0].state_dict() for run in (alone, parts))
    moved = sum((one[key].float() - other[key].float()).square().sum() for key in one)
    size = sum(tensor.float().square().sum() for tensor in one.values())
    assert moved < 1e-6 * size


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16(make, name):
    run = make("plain", *options(name), "train.steps=2", "train.precision=bf16")
    network, _ = checkpoint.load_exported(train(run))
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_to_the_same(name):
    """As one graph; code generation is not tested."""
    network, samples = seeded(name, ("rgb", "depth")).eval(), batch()
    expected = network(samples).final["depth"]
    network.compile(backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(network(samples).final["depth"], expected)


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.name=unet"], "command line: model.name: 'unet' is unknown; use mtinet, fpn"),
        (
            ["model.name=fpn", "model.decoder=heads"],
            "model.decoder: is an option of mtinet alone, and the network is fpn",
        ),
        (["model.name=fpn", "model.widths=[8, 8, 8, 8]"], "model.widths: is an option of mtinet alone"),
        (
            ["model.name=fpn", "model.widths=null"],
            r"model.widths: .* mtinet alone.*; set model.widths=\[18, 36, 72, 144\]",
        ),
        (["model.name=dpt", "model.decoder=heads"], "model.decoder: .* of mtinet alone, and the network is dpt"),
        (
            ["model.name=dpt", "model.fusion=early"],
            "model.fusion: dpt adds the tokens of its inputs.*; set model.fusion=add",
        ),
    ],
)
def test_options_that_a_network_does_not_have(configs, overrides, message):
    with pytest.raises(UserError, match=message):
        load(configs / "plain.yaml", [DEFAULT_WIDTHS, *overrides])
    settings = dict(override.removeprefix("model.").split("=") for override in overrides)
    if settings.get("decoder"):
        with pytest.raises(UserError, match="decoder: is an option of mtinet alone"):
            description(settings["name"], decoder=settings["decoder"])


@pytest.mark.parametrize("name", ["fpn", "dpt"])
def test_options_of_the_network_that_another_one_replaces_do_not_count(name, tmp_path):
    base, leaf = tmp_path / "base.yaml", tmp_path / "leaf.yaml"
    base.write_text("data: {path: d}\nmodel: {decoder: heads, widths: null}\n")
    leaf.write_text(f"inherits: base.yaml\nmodel: {{name: {name}}}\n")
    for config in (load(base, [f"model.name={name}"]), load(leaf), load("folder/ummt-d", [f"model.name={name}"])):
        assert (config.model.decoder, config.model.widths) == ("mti", [18, 36, 72, 144])
    assert load(leaf, ["model.name=mtinet"]).model.decoder == "heads"
    leaf.write_text(f"inherits: base.yaml\nmodel: {{name: {name}, decoder: heads}}\n")
    with pytest.raises(UserError, match=rf"leaf\.yaml: model\.decoder: .* is {name}; set model\.decoder=mti"):
        load(leaf)


def test_weights_need_a_backbone(monkeypatch):
    from trainer.model import network as module

    class Bare(NETWORKS["fpn"]):  # type: ignore[misc, name-defined]
        def __init__(self, architecture: Architecture) -> None:
            super().__init__(architecture)
            self.backbones = torch.nn.ModuleDict()

    monkeypatch.setitem(module.NETWORKS, "fpn", Bare)
    monkeypatch.setattr(module, "match_normalisation", lambda architecture, *_: architecture)
    with pytest.raises(UserError, match=r"^pretrained: fpn has no backbone for rgb that could start from weights"):
        build(description("fpn"), pretrained=True)
