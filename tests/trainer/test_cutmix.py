"""CutMix: boxes as the paper draws them, all labels pasted alike, and batches that do not depend on ranks."""

import pytest
import torch

from shards.errors import UserError
from shards.order import Order
from shards.stream import Batches, Position
from shards.tasks import IGNORE, Task
from trainer.cutmix import CutMix, draw_box, paste
from trainer.experiment import Experiment
from trainer.trainingdata import TrainingData

TASKS = (
    Task("semseg", "classes", classes=("a", "b"), colours=((0, 0, 0), (9, 9, 9))),
    Task("depth", "scalar", unit="m", scale=0.001),
)
MIXED = ("augment.cutmix=1", "labels.semseg=null", "labels.depth=null")


def frame(value: int, **labels) -> dict[str, torch.Tensor]:
    return {"rgb": torch.full((3, 8, 10), value, dtype=torch.uint8), **labels}


def covered(box) -> float:
    mask = torch.zeros(100, 200)
    mask[box] = 1
    return float(mask.mean())


def test_boxes_have_the_shape_of_the_frame_and_every_share_of_it():
    boxes = [draw_box(seed, 1, 100, 200) for seed in range(2000)]
    sides = torch.tensor([[rows.stop - rows.start, columns.stop - columns.start] for rows, columns in boxes]).float()
    whole = [(r, c) for r, c in boxes if r.start > 0 and c.start > 0 and r.stop <= 100 and c.stop <= 200]
    assert len(whole) > 200
    assert all(abs((c.stop - c.start) - 2 * (r.stop - r.start)) <= 2 for r, c in whole)
    assert float((sides.prod(1) / 20000).max()) > 0.9
    # of a side s about a centre anywhere in the frame, s - s²/4 lies within it: squared, the mean over s² in 0..1
    assert sum(map(covered, boxes)) / len(boxes) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.02)


def test_a_share_of_the_frames_is_mixed():
    assert all(draw_box(seed, 0, 8, 8) is None for seed in range(50))
    assert sum(draw_box(seed, 0.3, 8, 8) is not None for seed in range(2000)) == pytest.approx(600, abs=70)


def test_labels_are_pasted_with_the_image_and_absent_ones_are_none():
    box = slice(2, 5), slice(3, 9)
    soft = torch.full((4, 8, 10), 9, dtype=torch.uint8)
    one = frame(1, semseg=torch.zeros(8, 10, dtype=torch.uint8), depth=torch.ones(1, 8, 10))
    other = frame(7, semseg=torch.ones(8, 10, dtype=torch.uint8), **{"semseg.soft": soft, "semseg.weight": soft[:1]})
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[box] = True
    mixed = paste(one, other, box, TASKS)
    assert (mixed["rgb"][:, inside] == 7).all() and (mixed["rgb"][:, ~inside] == 1).all()
    assert set(mixed["semseg"][inside].tolist()) == {1} and set(mixed["semseg"][~inside].tolist()) == {0}
    assert not mixed["depth"][:, inside].any() and mixed["depth"][:, ~inside].all()
    assert (mixed["semseg.soft"][:, inside] == 9).all() and not mixed["semseg.soft"][:, ~inside].any()
    assert (mixed["semseg.weight"][:, inside] == 9).all() and (mixed["semseg.weight"][:, ~inside] == 255).all()
    reverse = paste(other, one, box, TASKS)
    assert (reverse["semseg.weight"][:, inside] == 255).all() and not reverse["semseg.soft"][:, inside].any()
    assert set(paste(frame(1), other, box, TASKS)["semseg"][~inside].tolist()) == {IGNORE}
    assert one["rgb"].eq(1).all() and other["rgb"].eq(7).all(), "what was given is left as it is"


def test_the_other_frame_is_the_neighbour_and_errors_are_passed_on():
    order = Order([5], 3)
    places = [order.locate(0, position)[1] for position in range(5)]
    failing: set[int] = set()

    def load(place: Position):
        if place.position in failing:
            raise UserError("is damaged")
        assert place.number == places[place.position]
        return str(place.number), frame(place.position)

    mix = CutMix(load, order, 1, 0, TASKS)

    def load_mixed(position: int):
        return mix(Position(0, position, 0, places[position]))

    for position in range(4):
        key, tensors = load_mixed(position)
        assert key == str(places[position])
        assert set(tensors["rgb"].unique().tolist()) <= {position, position ^ 1}
    assert set(load_mixed(4)[1]["rgb"].unique().tolist()) == {4}, "the last one has no neighbour"
    failing.add(1)
    for position in (0, 1):
        with pytest.raises(UserError, match="is damaged"):
            load_mixed(position)


def test_frames_that_differ_in_size_are_left_to_the_batch():
    def load(place: Position):
        return "k", {"rgb": torch.zeros(3, 8, 8 + place.position)}

    assert CutMix(load, Order([2], 0), 1, 0, TASKS)(Position(0, 1, 0, 0))[1]["rgb"].shape == (3, 8, 9)


def batches(experiment: Experiment, stop: int, cut: Batches) -> list:
    return list(TrainingData.of(experiment.config, experiment.training_frames()).batches(cut, 0, stop))


def test_ranks_and_workers_see_the_same_mixed_frames(make):
    whole = batches(make("plain", *MIXED), 3, Batches(4))
    plain = batches(make("plain", *MIXED[1:]), 3, Batches(4))
    parts = [batches(make("plain", *MIXED, "data.num_workers=1"), 3, Batches(4, 1, rank, 2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[step].rgb for part in parts]), batch.rgb)
        assert torch.equal(torch.cat([part[step].labels["depth"] for part in parts]), batch.labels["depth"])
        assert batch.keys == plain[step].keys
    rgb = [torch.cat([batch.rgb for batch in group]) for group in (whole, plain)]
    changed = (rgb[0] != rgb[1]).flatten(1).any(1).tolist()
    assert sum(changed) > 8


@pytest.mark.parametrize("option", ["grey", "blur", "cutmix"])
def test_what_is_no_share_is_refused(make, option):
    with pytest.raises(UserError, match=rf"augment\.{option}: 1\.5 is not a share; give 0 to 1"):
        make("plain", f"augment.{option}=1.5")
