"""Losses against naive references, and the sum over any split of a batch against the whole."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.errors import UserError
from shards.soft import STEPS, quantise
from shards.tasks import Task, palette
from trainer.losses import MultiTaskLoss, label_counts, loss_sums
from trainer.model.network import Predictions

SEMSEG = Task("semseg", "classes", tuple("abcde"), palette(5))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
TASKS = (SEMSEG, DEPTH, NORMALS)
SIDE = 32  # one cell of the coarsest stride


def batch(samples: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Return targets with ever fewer labels: nearly all pixels of the first sample, hardly any of the last."""
    g = torch.Generator().manual_seed(seed)
    keep = torch.rand(samples, SIDE, SIDE, generator=g) > torch.linspace(0, 0.95, samples)[:, None, None]
    classes = torch.randint(0, 5, (samples, SIDE, SIDE), generator=g, dtype=torch.uint8)
    depth = 0.5 + torch.rand(samples, 1, SIDE, SIDE, generator=g)
    normals = F.normalize(torch.randn(samples, 3, SIDE, SIDE, generator=g), dim=1)
    keep_depth, keep_normals = keep.flip(0)[:, None], keep.roll(2, 0)[:, None]
    return {
        "semseg": classes.where(keep, 255),
        "depth": depth.where(keep_depth, 0),
        "normals": normals.where(keep_normals, 0),
    }


def outputs(samples: int = 6, seed: int = 1) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {task.name: torch.randn(samples, task.channels, SIDE, SIDE, generator=g).requires_grad_() for task in TASKS}


def unlabelled(samples: int) -> dict[str, Tensor]:
    shape = (samples, 1, SIDE, SIDE)
    classes = torch.full((samples, SIDE, SIDE), 255, dtype=torch.uint8)
    return {"semseg": classes, "depth": torch.zeros(shape), "normals": torch.zeros(shape).repeat(1, 3, 1, 1)}


def naive_sums(predictions: dict[str, Tensor], targets: dict[str, Tensor]) -> tuple[list[float], list[int]]:
    """Return the sums and counts, pixel by pixel in Python's double precision."""
    sums, counts = [0.0] * 3, [0] * 3
    for b in range(len(targets["semseg"])):
        for y in range(SIDE):
            for x in range(SIDE):
                label = int(targets["semseg"][b, y, x])
                if label != 255:
                    logits = predictions["semseg"][b, :, y, x].tolist()
                    sums[0] += math.log(sum(map(math.exp, logits))) - logits[label]
                    counts[0] += 1
                if (value := float(targets["depth"][b, 0, y, x])) != 0:
                    sums[1] += abs(float(predictions["depth"][b, 0, y, x]) - value)
                    counts[1] += 1
                truth = targets["normals"][b, :, y, x].tolist()
                if any(truth):
                    guess = predictions["normals"][b, :, y, x].tolist()
                    dot = sum(p * t for p, t in zip(guess, truth, strict=True))
                    sums[2] += 1 - dot / math.hypot(*guess) / math.hypot(*truth)
                    counts[2] += 1
    return sums, counts


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sums_and_counts_equal_the_naive_masked_implementation(layout):
    targets = batch()
    predictions = {name: x.detach().to(memory_format=layout) for name, x in outputs().items()}
    sums, counts = naive_sums(predictions, targets)
    assert loss_sums(predictions, targets, TASKS).tolist() == pytest.approx(sums, rel=1e-6)
    assert label_counts(targets, TASKS).tolist() == counts
    assert label_counts(targets, TASKS).dtype == torch.int64
    wide = targets | {"semseg": targets["semseg"].long()}
    assert torch.equal(loss_sums(predictions, wide, TASKS), loss_sums(predictions, targets, TASKS))


def soft_batch(samples: int = 6, kept: int = 3) -> tuple[dict[str, Tensor], np.ndarray]:
    """Return a batch whose first half has soft labels, and those soft labels."""
    targets = batch(samples)
    p = np.random.default_rng(0).dirichlet([0.3] * 5, (samples // 2, SIDE, SIDE))
    named = np.argsort(-p, -1)[..., :kept].astype(np.uint8)
    soft = quantise(named, np.take_along_axis(p, named.astype(int), -1))
    planes = torch.zeros(samples, 2 * kept, SIDE, SIDE, dtype=torch.uint8)
    planes[: samples // 2] = torch.from_numpy(soft).permute(0, 3, 1, 2)
    targets["semseg"][: samples // 2] = torch.from_numpy(named[..., 0])
    return targets | {"semseg.soft": planes}, soft


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kept", [1, 3, 5])
def test_of_soft_labels_exactly_what_they_store_is_learnt(kept, layout):
    targets, soft_labels = soft_batch(kept=kept)
    logits = outputs()["semseg"].detach().to(memory_format=layout).requires_grad_()
    logarithms = logits.detach().double().log_softmax(1)
    soft, expected = 0.0, logits.detach()[:3].double().softmax(1)
    for frame, row, column in np.ndindex(3, SIDE, SIDE):
        named, steps = np.split(soft_labels[frame, row, column].astype(int), 2)
        p = logarithms[frame, :, row, column].exp().numpy()
        others = [number for number in range(5) if number not in named]
        rest = 1 - steps.sum() / STEPS
        soft -= (steps / STEPS * np.log(p[named])).sum() + (rest * np.log(p[others].sum()) if others else 0)
        pull = np.zeros(5)  # towards the named classes' probabilities, and of the others together: shared as they are
        pull[named] = steps / STEPS
        pull[others] = rest * p[others] / p[others].sum()
        expected[frame, :, row, column] -= torch.from_numpy(pull)
    hard = F.cross_entropy(logarithms[3:], targets["semseg"][3:].long(), ignore_index=255, reduction="sum")
    total = loss_sums({"semseg": logits}, targets, [SEMSEG])
    assert total.tolist() == pytest.approx([float(soft + hard)], rel=1e-5)
    total.sum().backward()
    torch.testing.assert_close(logits.grad[:3].double(), expected, atol=1e-5, rtol=1e-4)


def test_weights_multiply_losses_and_counts():
    targets, predictions = batch(), {name: x.detach() for name, x in outputs().items()}
    weights = torch.randint(0, 256, (6, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    weighted = targets | {"semseg.weight": weights, "depth.weight": weights}
    labelled = targets["semseg"] != 255
    pixels = F.cross_entropy(predictions["semseg"], targets["semseg"].long(), ignore_index=255, reduction="none")
    assert label_counts(weighted, TASKS).tolist() == [
        int((weights[:, 0] * labelled.long()).sum()),
        int((weights * (targets["depth"] != 0).long()).sum()),
        int(label_counts(targets, TASKS)[2]),
    ]
    sums = loss_sums(predictions, weighted, TASKS)
    assert sums[0].item() == pytest.approx(float((pixels * weights[:, 0]).sum()), rel=1e-5)
    error = ((predictions["depth"] - targets["depth"]).abs() * (targets["depth"] != 0) * weights).sum()
    assert sums[1].item() == pytest.approx(float(error), rel=1e-5)
    whole = targets | {"semseg.weight": torch.full_like(weights, 255)}  # equal weights are the same as none
    criterion, terms = MultiTaskLoss(TASKS), Predictions(predictions, [])
    torch.testing.assert_close(
        criterion.terms(terms, whole, criterion.counts(whole)),
        criterion.terms(terms, targets, criterion.counts(targets)),
    )
    share = MultiTaskLoss(TASKS, normalise="all")
    assert share.counts(whole).tolist() == [255 * 6 * SIDE * SIDE, 6 * SIDE * SIDE, 6 * SIDE * SIDE]


def test_counts_of_samples_add_up_to_those_of_their_batch():
    targets = batch()
    samples = [label_counts({name: t[i] for name, t in targets.items()}, TASKS) for i in range(6)]
    assert torch.equal(torch.stack(samples).sum(0), label_counts(targets, TASKS))


def test_a_vector_of_which_one_component_is_zero_is_labelled():
    targets = unlabelled(1)
    targets["normals"][0, 2, 0, 0] = 1
    assert label_counts(targets, TASKS).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("guess", "expected"), [((0, 0, 5), 0), ((0, 3, 0), 1), ((0, 0, -0.1), 2)])
def test_the_angular_loss_sees_direction_and_no_length(guess, expected):
    target = torch.tensor([0.0, 0, 1])[None, :, None, None]
    prediction = torch.tensor(guess, dtype=torch.float32)[None, :, None, None]
    loss = loss_sums({"normals": prediction}, {"normals": target}, [NORMALS])
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


def test_a_zero_vector_as_prediction_has_a_bounded_gradient():
    target = torch.tensor([0.0, 0, 1])[None, :, None, None]
    prediction = torch.zeros(1, 3, 1, 1, requires_grad=True)
    loss_sums({"normals": prediction}, {"normals": target}, [NORMALS]).sum().backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.abs().max() <= 1e4


def test_without_labels_loss_and_gradient_are_exact_zeros_that_reach_every_prediction():
    predictions = Predictions(outputs(2), [outputs(2, seed=2)])
    criterion = MultiTaskLoss(TASKS)
    targets = unlabelled(2)
    loss = criterion(predictions, targets, criterion.counts(targets))
    loss.backward()
    assert loss.item() == 0
    for terms in (predictions.final, *predictions.initial):
        for prediction in terms.values():
            assert prediction.grad is not None
            assert not prediction.grad.any()


def test_predictions_at_unlabelled_pixels_do_not_matter_even_if_infinite():
    targets, predictions = batch(), {name: x.detach() for name, x in outputs().items()}
    where = targets["depth"] == 0
    spoilt = predictions["depth"].masked_fill(where, math.inf).requires_grad_()
    sums = loss_sums(predictions | {"depth": spoilt}, targets, TASKS)
    assert torch.equal(sums, loss_sums(predictions, targets, TASKS))
    sums.sum().backward()
    assert spoilt.grad is not None
    assert not spoilt.grad[where].any()


class Tiny(nn.Module):
    """Two layers and an initial prediction, with every parameter shared by all samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.early = nn.ModuleDict({task.name: nn.Conv2d(8, task.channels, 1) for task in TASKS})
        self.late = nn.ModuleDict({task.name: nn.Conv2d(8, task.channels, 3, padding=1) for task in TASKS})

    def forward(self, x: Tensor) -> Predictions:
        x = self.stem(x).relu()
        return Predictions(
            {name: head(x) for name, head in self.late.items()},
            [{name: head(x) for name, head in self.early.items()}],
        )


def gradient(criterion: MultiTaskLoss, images: Tensor, targets: dict[str, Tensor], cuts: tuple[int, ...]) -> Tensor:
    """Return the gradient of the micro-batches between ``cuts``, each with its own backward pass."""
    network = Tiny()
    parts = [slice(a, b) for a, b in pairwise((0, *cuts, len(images)))]
    micro = [(images[part], {name: t[part] for name, t in targets.items()}) for part in parts]
    counts = torch.stack([criterion.counts(labels) for _, labels in micro]).sum(0)
    for x, labels in micro:
        criterion(network(x), labels, counts).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("normalise", ["labelled", "all"])
@pytest.mark.parametrize("cuts", [(1,), (2, 3), (1, 2, 3, 4, 5), (5,)])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "soft and weighted"])
def test_uneven_micro_batches_have_the_gradient_of_the_whole_batch(normalise, cuts, weighted):
    images, targets = torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)), batch()
    if weighted:
        targets, _ = soft_batch()
        targets["semseg.weight"] = torch.arange(6 * SIDE * SIDE).remainder(256).view(6, 1, SIDE, SIDE).byte()
    targets["semseg"][4:] = 255  # one micro-batch holds no label of this task at all
    criterion = MultiTaskLoss(TASKS, {"semseg": 0.7}, normalise)
    whole = gradient(criterion, images, targets, ())
    assert distance(gradient(criterion, images, targets, cuts), whole) < 1e-4  # rounding; the mistake below gives 1e-2


def test_a_mean_of_micro_batch_means_has_another_gradient():
    """The mistake that the global denominator prevents, which shows that the test above can fail."""
    images, targets = torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)), batch()
    criterion = MultiTaskLoss(TASKS)
    whole = gradient(criterion, images, targets, ())
    halves = [
        gradient(criterion, images[part], {name: t[part] for name, t in targets.items()}, ())
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert distance((halves[0] + halves[1]) / 2, whole) > 0.01


def test_final_and_initial_predictions_are_equal_terms_and_weights_multiply():
    targets = batch()
    terms = [{name: x.detach() for name, x in outputs(seed=s).items()} for s in range(5)]
    criterion = MultiTaskLoss(TASKS, {"semseg": 0.25})
    counts = criterion.counts(targets)
    values = criterion.terms(Predictions(terms[0], terms[1:]), targets, counts)
    sums = torch.stack([loss_sums(term, targets, TASKS) for term in terms]).sum(0)
    expected = torch.tensor([0.25, 1, 1]) * sums / label_counts(targets, TASKS)
    assert values.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert criterion(Predictions(terms[0], terms[1:]), targets, counts).item() == pytest.approx(sum(values.tolist()))


def test_deep_supervision_is_weighed_and_leaves_small_maps_out():
    targets, final = batch(), outputs()
    scales = [{name: x.detach()[..., ::step, ::step].requires_grad_() for name, x in final.items()} for step in (4, 8)]
    predictions = Predictions(final, scales)

    def losses(**options) -> Tensor:
        criterion = MultiTaskLoss(TASKS, **options)
        return criterion.terms(predictions, targets, criterion.counts(targets))

    counts = label_counts(targets, TASKS)
    alone, fine, coarse = (
        loss_sums(term, targets, TASKS) / counts for term in (final, *map(predictions.at_full_size, range(2)))
    )
    torch.testing.assert_close(losses(deep=0.5), alone + 0.5 * fine)  # 8×8 cells count, 4×4 do not
    torch.testing.assert_close(losses(deep=0.5, deep_cells=4), alone + 0.5 * (fine + coarse))
    assert torch.equal(losses(deep_cells=9), alone)
    assert torch.equal(losses(deep=0, deep_cells=1), alone)
    losses().sum().backward()
    assert all(x.grad is not None and x.grad.any() for x in scales[0].values())
    assert all(x.grad is not None and not x.grad.any() for x in scales[1].values())


def test_all_divides_by_every_pixel_so_that_a_missing_label_is_a_zero_loss():
    targets, predictions = batch(), Predictions(outputs(), [])
    labelled, every = MultiTaskLoss(TASKS), MultiTaskLoss(TASKS, normalise="all")
    assert every.counts(targets).tolist() == [6 * SIDE * SIDE] * 3
    a = labelled.terms(predictions, targets, labelled.counts(targets))
    b = every.terms(predictions, targets, every.counts(targets))
    share = labelled.counts(targets) / every.counts(targets)
    assert (share < 1).all()
    assert b.tolist() == pytest.approx((a * share).tolist(), rel=1e-6)


def test_half_precision_predictions_are_summed_in_single_precision():
    targets = batch(64)
    halves = {name: x.detach().bfloat16() for name, x in outputs(64).items()}
    floats = {name: x.float() for name, x in halves.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = loss_sums(halves, targets, TASKS)
    assert sums.dtype == torch.float32
    assert torch.equal(sums, loss_sums(floats, targets, TASKS))


def test_a_gradient_reaches_half_precision_predictions():
    targets = batch()
    predictions = {name: x.detach().bfloat16().requires_grad_() for name, x in outputs().items()}
    loss_sums(predictions, targets, TASKS).sum().backward()
    for prediction in predictions.values():
        assert prediction.grad is not None
        assert prediction.grad.dtype == torch.bfloat16
        assert prediction.grad.any()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"weights": {"semsge": 1.0}}, "weights.semsge"),
        ({"weights": {"depth": -1.0}}, "weights.depth"),
        ({"weights": {"depth": math.nan}}, "weights.depth"),
        ({"weights": {"depth": "1"}}, "weights.depth"),
        ({"weights": [1.0]}, "weights"),
        ({"normalise": "mean"}, "normalise"),
        ({"deep": -1}, "deep"),
        ({"deep": math.nan}, "deep"),
        ({"deep": "a"}, "deep"),
        ({"deep_cells": 0}, "deep_cells"),
        ({"offsets": {"semsge": torch.zeros(2, 4)}}, "offsets.semsge"),
        ({"offsets": {"semseg": torch.zeros(4)}}, "offsets.semseg"),
        ({"offsets": {"semseg": [0.0]}}, "offsets.semseg"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [TASKS[0], TASKS[0]]}, "tasks"),
    ],
)
def test_a_wrong_option_is_a_user_error_that_names_it(options, key):
    with pytest.raises(UserError) as error:
        MultiTaskLoss(**({"tasks": TASKS} | options))
    assert error.value.key == key
    assert error.value.hint
