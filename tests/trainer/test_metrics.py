"""Metrics against hand-computed examples and naive references, and bit-equality over every split."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shards.tasks import Task, palette
from trainer.fixedpoint import LOW_BITS, SATURATION, fixed_point_mean, fixed_point_sum, fixed_point_variance
from trainer.kinds import learning
from trainer.metrics import Metrics

SEMSEG = Task("semseg", "classes", tuple("abcd"), palette(4))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
TASKS = (SEMSEG, DEPTH, NORMALS)


def measure(task: Task, prediction: Tensor, target: Tensor) -> dict:
    metrics = Metrics([task])
    update(metrics, {task.name: prediction}, {task.name: target})
    return metrics.compute()[task.name]


def update(metrics: Metrics, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> None:
    metrics.update({task.name: learning(task).decide(outputs[task.name]) for task in metrics.tasks}, targets)


def classes(prediction: list[int], target: list[int]) -> dict:
    logits = F.one_hot(torch.tensor(prediction), 4).float().T[None, :, None]
    return measure(SEMSEG, logits, torch.tensor(target, dtype=torch.uint8)[None, None])


def depths(prediction: list[float], target: list[float]) -> dict:
    return measure(DEPTH, torch.tensor(prediction)[None, None, None], torch.tensor(target)[None, None, None])


def angles(*degrees: float) -> dict:
    """Return the metrics of unit vectors that are each that many degrees from their truth."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    prediction = 3 * torch.stack([radians.sin(), torch.zeros_like(radians), radians.cos()])
    target = torch.tensor([0.0, 0, 1])[:, None].expand(3, len(degrees))
    return measure(NORMALS, prediction[None, :, None], target[None, :, None])


def evaluation(samples: int = 9, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return predictions and partly missing targets of odd sizes, with values over four orders of magnitude."""
    g = torch.Generator().manual_seed(seed)
    shape = (samples, 1, 5, 7)
    truth = 10 ** (4 * torch.rand(shape, generator=g) - 2)
    predictions = {
        "semseg": torch.randn(samples, 4, 5, 7, generator=g),
        "depth": truth * (0.2 * torch.randn(shape, generator=g)).exp(),
        "normals": torch.randn(samples, 3, 5, 7, generator=g),
    }
    vectors = F.normalize(torch.randn(samples, 3, 5, 7, generator=g), dim=1)
    targets = {
        "semseg": torch.randint(0, 4, (samples, 5, 7), generator=g, dtype=torch.uint8),
        "depth": truth.where(torch.rand(shape, generator=g) > 0.3, 0),
        "normals": vectors.where(torch.rand(shape, generator=g) > 0.3, 0),
    }
    targets["semseg"][torch.rand(samples, 5, 7, generator=g) < 0.3] = 255
    return predictions, targets


def state(predictions: dict[str, Tensor], targets: dict[str, Tensor], order: Tensor, sizes: list[int]) -> Tensor:
    metrics = Metrics(TASKS)
    for part in order.split(sizes):
        update(metrics, {k: v[part] for k, v in predictions.items()}, {k: v[part] for k, v in targets.items()})
    return metrics.state()


def test_iou_by_hand():
    #            a hit    a as b   b hit   ignored  b as a
    result = classes([0, 1, 1, 2, 0], [0, 0, 1, 255, 1])
    assert result["iou"] == [pytest.approx(1 / 3), pytest.approx(1 / 3), None, None]
    assert result["miou"] == pytest.approx(1 / 3)
    assert result["pixel_accuracy"] == 0.5
    assert result["mean_accuracy"] == 0.5
    assert result["pixels"] == 4


def test_a_class_in_neither_truth_nor_prediction_is_left_out_of_the_mean():
    result = classes([0, 1], [0, 1])
    assert result["iou"] == [1, 1, None, None]
    assert result["miou"] == 1


def test_a_class_that_is_only_predicted_counts_as_zero():
    result = classes([0, 0, 3], [0, 0, 0])
    assert result["iou"] == [pytest.approx(2 / 3), None, None, 0]
    assert result["miou"] == pytest.approx(1 / 3)
    assert result["mean_accuracy"] == pytest.approx(2 / 3)  # recall, over the one class that there is


def test_a_class_predicted_only_where_the_truth_is_unlabelled_is_absent():
    assert classes([0, 3], [0, 255])["iou"] == [1, None, None, None]


def test_iou_is_pooled_over_pixels_and_no_mean_over_images():
    metrics = Metrics([SEMSEG])
    for prediction, target in (([0, 0, 0, 0], [0, 0, 0, 1]), ([1, 1, 1, 1], [1, 1, 1, 1])):
        logits = F.one_hot(torch.tensor(prediction), 4).float().T[None, :, None]
        update(metrics, {"semseg": logits}, {"semseg": torch.tensor(target, dtype=torch.uint8)[None, None]})
    assert metrics.compute()["semseg"]["iou"] == [3 / 4, 4 / 5, None, None]


def test_many_classes_do_not_overflow_the_targets_bytes():
    task = Task("semseg", "classes", tuple(map(str, range(200))), palette(200))
    target = torch.arange(200, dtype=torch.uint8)[None, None]
    result = measure(task, torch.eye(200)[None, :, None], target)
    assert result["miou"] == 1
    assert result["pixels"] == 200


def test_depth_by_hand():
    result = depths([2.0, 3.0, 7.0], [1.0, 4.0, 0.0])
    assert result["pixels"] == 2
    assert result["rmse"] == pytest.approx(1)
    assert result["abs_rel"] == pytest.approx((1 / 1 + 1 / 4) / 2)
    assert result["delta1"] == 0  # ratios 2 and 4/3
    assert result["delta2"] == result["delta3"] == 0.5


def test_rmse_is_the_root_over_all_pixels_and_no_mean_of_roots():
    metrics = Metrics([DEPTH])
    for error in (0.0, 2.0):
        update(metrics, {"depth": torch.full((1, 1, 1, 1), 1 + error)}, {"depth": torch.ones(1, 1, 1, 1)})
    assert metrics.compute()["depth"]["rmse"] == pytest.approx(math.sqrt(2))


def test_logrmse_is_natural_and_in_the_unit():
    result = depths([math.e, 1.0], [1.0, math.e])
    assert result["rmse_log"] == pytest.approx(1, rel=1e-7)


@pytest.mark.parametrize("value", [1e-4, 0.0, -3.0])
def test_a_prediction_below_the_minimum_is_raised_to_it_for_logarithm_and_ratio_only(value):
    """To 1 mm for those two, and to 0 for all others."""
    result = depths([value, 1.0], [1.0, 1.0])
    assert result["rmse_log"] == pytest.approx(math.log(1000) / math.sqrt(2))
    assert result["log10"] == pytest.approx(3 / 2)
    assert result["silog"] == pytest.approx(math.log(1000) / 2)
    assert result["rmse"] == pytest.approx((1 - max(value, 0)) / math.sqrt(2))
    assert result["mae"] == result["abs_rel"] == pytest.approx((1 - max(value, 0)) / 2)
    assert result["delta3"] == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_network_shows_as_a_huge_error(value):
    for predictions in ([value, 1.0], [value, value]):
        result = depths(predictions, [1.0, 1.0])
        share = sum(not math.isfinite(prediction) for prediction in predictions) / 2
        assert result["rmse"] == math.sqrt(SATURATION * share)
        assert result["silog"] == result["rmse_log"] == math.sqrt(SATURATION * share)
        assert result["mae"] == SATURATION * share
        assert result["delta1"] == 1 - share
        assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("scale", [1e-9, 1e-7, 2**-16, 0.0009, 0.004, 0.02, 1.0, 10.0, 1e6])
def test_errors_are_right_whatever_the_magnitude(scale):
    """As those of the same labels in metres, by a factor."""
    task = Task("pressure", "scalar", scale=scale, unit="Pa", zoom="keep")
    prediction, truth = [1000.0, 3.0, 60000.0, 1.0], [1400.0, 4.0, 1.0, 65535.0]  # in steps of a stored label

    def measured(task: Task) -> dict:
        rows = (torch.tensor([number * task.scale for number in row]) for row in (prediction, truth))
        return measure(task, *(row[None, None, None] for row in rows))

    metres, result = measured(DEPTH), measured(task)
    for name, value in metres.items():
        assert result[name] == pytest.approx(value * scale / 0.001 if name in ("rmse", "mae") else value, rel=1e-5)


def test_a_sum_of_both_signs_is_exact():
    """Compared with Python's integers, also for so many pixels that the high part alone would overflow."""
    values = torch.tensor(
        [2.0**33, -(2.0**33), -1.5, -(2.0**-28), 0.25, -(2.0**40), math.nan, 7.0], dtype=torch.float64
    )
    where = torch.tensor([True] * 7 + [False])
    expected = round((-1.5 - 2.0**-28 + 0.25) * 2**28)  # what saturates cancels
    high, low = fixed_point_sum(values, where).tolist()
    assert (high << LOW_BITS) + low == expected and low >= 0
    for cut in range(1, 8):
        parts = [fixed_point_sum(values[rows], where[rows]) for rows in (slice(cut), slice(cut, None))]
        assert sum(parts).tolist() == [high, low]
    many = fixed_point_sum(torch.full((2**10,), -SATURATION, dtype=torch.float64), torch.ones(2**10, dtype=torch.bool))
    assert fixed_point_mean((2**21 * many).tolist(), 2**31) == -SATURATION


def test_silog_by_hand():
    """Eigen et al. 2014: a common factor of all predictions, in either direction, does not change it."""
    truth = [1.0, 2.0, 5.0, 0.0]
    for factor in (0.5, 1.0, 3.0):
        assert depths([factor * value for value in truth], truth)["silog"] < 1e-4
    result = depths([math.e, 1.0, 1.0], [1.0, math.e, 1.0])
    assert result["silog"] == pytest.approx(math.sqrt(2 / 3))
    result = depths([math.e**2, 1.0], [1.0, 1.0])  # d = 2, 0: mean of squares 2, square of mean 1
    assert result["silog"] == pytest.approx(1) and result["rmse_log"] == pytest.approx(math.sqrt(2))


def test_a_variance_cancels_nothing():
    """For values whose mean is a million times their deviation, which floats would lose."""
    where = torch.ones(2, dtype=torch.bool)
    values = torch.tensor([1024.0, 1024.0 + 2**-10], dtype=torch.float64)
    parts, squares = fixed_point_sum(values, where).tolist(), fixed_point_sum(values.square(), where).tolist()
    assert fixed_point_variance(parts, squares, 2) == 2.0**-22


def test_small_errors_are_not_lost_in_the_rounding():
    result = depths([1.001, 2.001, 3.001], [1.0, 2.0, 3.0])
    assert result["rmse"] == pytest.approx(1e-3, rel=2e-3)


def test_large_errors_of_many_pixels_do_not_overflow():
    metrics = Metrics([DEPTH])
    update(metrics, {"depth": torch.full((1, 1, 512, 512), 6e4)}, {"depth": torch.full((1, 1, 512, 512), 1.0)})
    for _ in range(10):  # 2²⁸ pixels
        metrics.merge(metrics.state())
    assert metrics.compute()["depth"]["rmse"] == pytest.approx(59999)


def test_angles_by_hand():
    result = angles(0, 10, 12, 28, 100)
    assert result["mean"] == pytest.approx(30, abs=1e-6)
    assert result["median"] == pytest.approx(12, abs=0.01)
    assert (result["within_11.25"], result["within_22.5"], result["within_30"]) == (2 / 5, 3 / 5, 4 / 5)
    assert result["pixels"] == 5


def test_opposite_and_zero_vectors():
    assert angles(180)["mean"] == pytest.approx(180)
    target = torch.tensor([0.0, 1, 0])[None, :, None, None]
    assert measure(NORMALS, torch.zeros(1, 3, 1, 1), target)["mean"] == 90


def test_small_angles_are_exact():
    assert angles(1e-5)["mean"] == pytest.approx(1e-5, rel=1e-3)


def test_all_equal_naive_references():
    predictions, targets = evaluation()
    metrics = Metrics(TASKS)
    update(metrics, predictions, targets)
    result = metrics.compute()

    mask = targets["semseg"] != 255
    guess, truth = predictions["semseg"].argmax(1)[mask], targets["semseg"][mask].long()
    iou = [float(((guess == c) & (truth == c)).sum() / ((guess == c) | (truth == c)).sum()) for c in range(4)]
    assert result["semseg"]["iou"] == pytest.approx(iou)
    assert result["semseg"]["miou"] == pytest.approx(sum(iou) / 4)
    assert result["semseg"]["pixel_accuracy"] == pytest.approx((guess == truth).double().mean().item())

    mask = targets["depth"] != 0
    p, t = predictions["depth"][mask].double(), targets["depth"][mask].double()
    ratio = torch.maximum(p / t, t / p)
    reference = {
        "rmse": (p - t).square().mean().sqrt(),
        "rmse_log": (p.log() - t.log()).square().mean().sqrt(),
        "abs_rel": ((p - t).abs() / t).mean(),
        "mae": (p - t).abs().mean(),
        "log10": (p.log10() - t.log10()).abs().mean(),
        "silog": (p.log() - t.log()).var(correction=0).sqrt(),
        "pixels": mask.sum(),
    } | {f"delta{k}": (ratio < 1.25**k).double().mean() for k in (1, 2, 3)}
    assert result["depth"] == pytest.approx({name: value.item() for name, value in reference.items()}, rel=1e-6)

    mask = (targets["normals"] != 0).any(1)
    cosine = F.cosine_similarity(predictions["normals"].double(), targets["normals"].double())[mask]
    degrees = cosine.clamp(-1, 1).acos().rad2deg()
    assert result["normals"]["mean"] == pytest.approx(degrees.mean().item(), rel=1e-6)
    assert result["normals"]["median"] == pytest.approx(degrees.median().item(), abs=0.0051)
    assert result["normals"]["within_30"] == (degrees < 30).double().mean().item()


@pytest.mark.parametrize("seed", range(5))
def test_every_split_over_batches_and_ranks_gives_the_same_bits(seed):
    predictions, targets = evaluation(seed=seed)
    whole = state(predictions, targets, torch.arange(9), [9])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(state(predictions, targets, order, [2, 3, 1, 3]), whole)
    ranks = [state(predictions, targets, order[rank::5], [1] * len(order[rank::5])) for rank in range(5)]
    total = Metrics(TASKS).merge(torch.stack(ranks).sum(0))
    assert total.compute() == Metrics(TASKS).merge(whole).compute()
    for rank in ranks[1:]:
        ranks[0] += rank
    assert torch.equal(ranks[0], whole)


def test_a_sum_of_floats_would_depend_on_the_split():
    """The reason for fixed point: on this data a sum of floats does change."""
    predictions, targets = evaluation()
    squared = (predictions["depth"] - targets["depth"]).square().flatten()
    assert len({squared.split(size)[0].sum().add(squared[size:].sum()).item() for size in range(1, 300)}) > 1


def test_samples_without_labels_add_nothing():
    predictions, targets = evaluation()
    metrics = Metrics(TASKS)
    update(metrics, predictions, targets)
    before = metrics.state()
    padding = {name: torch.zeros_like(t) for name, t in targets.items()}
    padding["semseg"] = torch.full_like(targets["semseg"], 255)
    update(metrics, {name: torch.full_like(p, math.nan) for name, p in predictions.items()}, padding)
    assert torch.equal(metrics.state(), before)


def test_nothing_measured_is_none():
    result = Metrics(TASKS).compute()
    assert result["semseg"] == {
        "miou": None,
        "pixel_accuracy": None,
        "mean_accuracy": None,
        "iou": [None] * 4,
        "pixels": 0,
    }
    assert set(result["depth"].values()) == set(result["normals"].values()) == {None, 0}
    measured = angles(5) | depths([1.0], [1.0])
    assert set(result["depth"]) | set(result["normals"]) == set(measured)


def test_the_state_is_a_copy():
    predictions, targets = evaluation()
    metrics = Metrics(TASKS)
    with torch.inference_mode():
        update(metrics, predictions, targets)
    snapshot = metrics.state()
    update(metrics, predictions, targets)
    assert torch.equal(metrics.state(), 2 * snapshot)
