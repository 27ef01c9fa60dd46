"""The network against its description: sizes, semantics of the parts, and who learns from what."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from architectures import DEPTH, MANY_INPUTS, NORMALS, SEMSEG, batch, loss, seeded, student, teacher
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from shards.tasks import IGNORE
from trainer.losses import MultiTaskLoss
from trainer.model.blocks import SqueezeExcitation, upsample
from trainer.model.network import Predictions
from trainer.model.pyramid import SCALES

# Outputs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture",
    [
        student(SEMSEG, DEPTH, NORMALS),
        teacher(SEMSEG, DEPTH, NORMALS),
        student(DEPTH),
        student(DEPTH, decoder="heads"),
        teacher(decoder="heads", widths=None),
        MANY_INPUTS,
    ],
    ids=["student", "teacher", "single", "single head", "two heads", "four inputs"],
)
def test_shapes_in_training_and_evaluation(architecture):
    network, inputs = seeded(architecture), batch(64, 96)
    shapes = {task.name: (2, task.channels, 64, 96) for task in architecture.tasks}
    scales = range(4 if architecture.decoder == "mti" else 0)
    trained = network(inputs)
    expected = [{k: (*shape[:2], 16 >> s, 24 >> s) for k, shape in shapes.items()} for s in scales]
    assert [{k: v.shape for k, v in p.items()} for p in trained.initial] == expected
    assert [{k: v.shape for k, v in trained.at_full_size(s).items()} for s in scales] == [shapes for _ in scales]
    assert {k: v.shape for k, v in trained.final.items()} == shapes
    evaluated = network.eval()(inputs)
    assert {k: v.shape for k, v in evaluated.final.items()} == shapes
    assert evaluated.initial == []


@pytest.mark.parametrize("tasks", [(SEMSEG,), (SEMSEG, DEPTH)], ids=["one task", "two tasks"])
def test_heads_read_the_backbones_features(tasks):
    network = seeded(student(*tasks, decoder="heads"))
    assert not [*network.initial.parameters(), *network.propagation.parameters(), *network.distillation.parameters()]
    inputs = batch()
    network.eval()
    expected = upsample(network.heads["semseg"](network.extract(inputs)), (64, 64))
    torch.testing.assert_close(network(inputs).final["semseg"], expected)


def test_one_task_may_have_the_same_decoder_as_several():
    network = seeded(student(SEMSEG))
    assert [*network.initial] == [*SCALES] and [*network.propagation] == [*SCALES[1:]]
    assert all(part.attention is None for part in network.propagation.values())  # of one task it would be 1
    assert not [*network.distillation.parameters()]
    received = task_features(network, inputs := batch())
    final = network.eval()(inputs).final["semseg"]
    assert torch.autograd.grad(final.square().mean(), received["stride32.semseg"])[0].abs().max() > 0


def test_predictions_of_a_quantity_start_at_its_mean():
    network = seeded(student(statistics={"depth": (3.25, 1.5)}))
    parts = [network.heads, *network.initial.values()]
    assert [part["depth"].predict.bias.tolist() for part in parts] == [[3.25]] * 5
    assert all(part["semseg"].predict.bias.abs().max() < 1 for part in parts)
    unknown = seeded(student())
    for part in (unknown.heads, *unknown.initial.values()):
        nn.init.zeros_(part["depth"].predict.bias)
    inputs = batch()
    difference = network.eval()(inputs).final["depth"] - unknown.eval()(inputs).final["depth"]
    torch.testing.assert_close(difference, torch.full_like(difference, 3.25))


def test_odd_sizes_are_cropped_back():
    network = seeded(MANY_INPUTS).eval()
    inputs = batch(50, 70)
    fill = {"rgb": ("replicate", None), "semseg": ("constant", IGNORE)}
    padded = {name: F.pad(x, (0, 26, 0, 14), *fill.get(name, ("constant", 0))) for name, x in inputs.items()}
    prediction = network(inputs).final["depth"]
    assert prediction.shape == (2, 1, 50, 70)
    torch.testing.assert_close(prediction, network(padded).final["depth"][..., :50, :70])


def test_early_fusion_is_one_backbone_of_four_channels():
    network = seeded(teacher(fusion="early"))
    assert list(network.backbones) == ["rgb_depth"]
    assert network.backbones["rgb_depth"].conv1.weight.shape[1] == 4
    assert network(batch()).final["semseg"].shape == (2, 5, 64, 64)


def test_initial_predictions_of_odd_sizes_are_upsampled_like_final_ones():
    network, inputs = seeded(student()), batch(50, 70)
    predictions = network(inputs)
    for scale in range(4):
        assert predictions.initial[scale]["semseg"].shape[-2:] == (16 >> scale, 24 >> scale)
        expected = upsample(predictions.initial[scale]["semseg"], (64, 96))[..., :50, :70]
        torch.testing.assert_close(predictions.at_full_size(scale)["semseg"], expected)


def test_widths_may_come_from_the_backbone():
    network = seeded(student(backbone="mobilenetv3_small_100", widths=None))  # 16, 24, 48, 576: nothing doubles
    assert network.initial["stride16"]["depth"].blocks[0].conv1.weight.shape == (48, 48 + 576, 3, 3)
    assert network.heads["depth"].mix.weight.shape[0] == 16 + 24 + 48 + 576


# Who learns from what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture",
    [
        teacher(SEMSEG, DEPTH, NORMALS),
        teacher(SEMSEG, DEPTH, fusion="early"),
        teacher(SEMSEG),
        teacher(SEMSEG, DEPTH, decoder="heads"),
        student(SEMSEG, DEPTH, backbone="mobilenetv3_small_100"),
    ],
    ids=["three tasks", "early fusion", "single task", "two heads", "another backbone"],
)
def test_every_parameter_learns(architecture):
    network = seeded(architecture)
    for module in network.modules():
        if isinstance(module, SqueezeExcitation):  # of its one or two hidden units, all may be dead by chance
            nn.init.ones_(module.squeeze.bias)
    loss(network(batch())).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_each_modality_reaches_every_task():
    inputs = batch()
    inputs["rgb"].requires_grad_()
    inputs["depth"].requires_grad_()
    for prediction in seeded(teacher()).eval()(inputs).final.values():
        for gradient in torch.autograd.grad(
            prediction.square().mean(), [inputs["rgb"], inputs["depth"]], retain_graph=True
        ):
            assert gradient.abs().max() > 0


def task_features(network: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a mapping that each forward pass fills: the features of the initial predictions, by scale and task."""
    features: dict[str, torch.Tensor] = {}
    for scale in SCALES:
        for task in network.heads:

            def keep(module, arguments, output, key=f"{scale}.{task}"):
                features[key] = output[0]

            network.initial[scale][task].register_forward_hook(keep)
    return features


def test_a_task_reads_the_other_tasks_features_at_every_scale():
    network, inputs = seeded(student()).eval(), batch()
    features = task_features(network, inputs)
    semseg = network(inputs).final["semseg"].square().mean()
    gradients = torch.autograd.grad(semseg, [features[f"{scale}.depth"] for scale in SCALES])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_without_distillation_a_task_reads_others_only_from_coarser_scales():
    network, inputs = seeded(student()).eval(), batch()
    for scale in SCALES:
        network.distillation[scale] = nn.Identity()
    features = task_features(network, inputs)
    semseg = network(inputs).final["semseg"].square().mean()
    finest, *coarser = torch.autograd.grad(semseg, [features[f"{scale}.depth"] for scale in SCALES], allow_unused=True)
    assert finest is None
    assert all(gradient.abs().max() > 0 for gradient in coarser)  # through the propagation modules


@pytest.mark.parametrize("index", range(4))
def test_an_initial_prediction_trains_its_scale_and_coarser_ones(index):
    network = seeded(student())
    loss(Predictions({}, [network(batch()).initial[index]])).backward()

    def learns(module: nn.Module) -> bool:
        return any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())

    for place, scale in enumerate(SCALES):
        for task in ("semseg", "depth"):
            assert learns(network.initial[scale][task].predict) == (place == index)
            assert learns(network.initial[scale][task].blocks) == (place >= index)
        assert not learns(network.distillation[scale])
    assert [learns(module) for module in network.propagation.values()] == [s > index for s in (1, 2, 3)]
    assert not learns(network.heads)


# Engines -------------------------------------------------------------------------------------------------------------


def test_every_activation_and_gradient_stays_channels_last():
    network = seeded(teacher())
    names, errors = [], []

    def check(kind: str, name: str, x: torch.Tensor) -> None:
        names.append(name)
        if not x.is_contiguous(memory_format=torch.channels_last):
            errors.append(f"{kind} of {name}: {tuple(x.shape)} {x.stride()}")

    def hook(name: str):
        def check_outputs(module, arguments, output):
            check("input", name, arguments[0])
            check("output", name, output)
            output.register_hook(lambda gradient: check("gradient", name, gradient))

        return check_outputs

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook(name))
    predictions = network(batch(96, 64))
    outputs = [x for scale in [predictions.final, *predictions.initial] for x in scale.values()]
    for prediction in outputs:
        check("prediction", "the network", prediction)
    torch.autograd.backward(outputs, [torch.ones_like(prediction) for prediction in outputs])
    assert names and not errors


def test_bfloat16_autocast():
    network, inputs = seeded(teacher()), batch()
    exact = network(inputs).final["depth"]
    with torch.autocast("cpu", torch.bfloat16):
        predictions = network(inputs)
    loss(predictions).backward()
    assert torch.isfinite(predictions.final["depth"]).all()
    assert F.cosine_similarity(predictions.final["depth"].float().flatten(), exact.flatten(), 0) > 0.99
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_compiles_as_one_graph():
    network, inputs = seeded(student()), batch(50, 70)
    network.backbones["rgb"] = Pyramid(3)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    expected, received = network(inputs), compiled(inputs)
    torch.testing.assert_close(received.initial[3], expected.initial[3])
    torch.testing.assert_close(received.final, expected.final)


class Pyramid(nn.Module):
    """In place of a backbone, which takes long to trace."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([nn.Conv2d(inputs, 16 * 2**i, 3, 4 * 2**i, padding=1) for i in range(4)])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [scale(x) for scale in self.scales]


@pytest.fixture
def process_group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("decoder", ["mti", "heads"])
@pytest.mark.parametrize("tasks", [(SEMSEG,), (SEMSEG, DEPTH)], ids=["single task", "two tasks"])
def test_ddp_finds_no_unused_parameter(process_group, tasks, decoder):
    network = DistributedDataParallel(seeded(teacher(*tasks, decoder=decoder)))
    criterion, inputs = MultiTaskLoss(tasks, deep_cells=8), batch()  # leaves out strides 16 and 32
    for _ in range(2):  # a parameter that was not used in the first step is an error in the second
        criterion(network(inputs), inputs, criterion.counts(inputs)).backward()
