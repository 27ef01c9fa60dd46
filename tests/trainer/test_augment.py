"""Augmentation: one geometry for all members, everything from the seed, and nothing from anywhere else."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch

from shards.errors import UserError
from shards.tasks import Task, palette
from trainer.augment import Augmentation, to_tensors
from trainer.kinds import learning
from trainer.sections import Augment

SEMSEG = Task("semseg", "classes", tuple(map(str, range(200))), palette(200))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
TASKS = (SEMSEG, DEPTH, NORMALS)
HEIGHT, WIDTH = 48, 64
SEEDS = range(40)


def coordinates(height: int = HEIGHT, width: int = WIDTH) -> dict[str, np.ndarray]:
    """Return a frame in which every member encodes the row and the column of its pixels."""
    y, x = np.mgrid[:height, :width]
    return {
        "rgb": np.stack([2 * y, 2 * x, np.full_like(x, 7)], axis=-1).astype(np.uint8),
        "semseg": x.astype(np.uint8),
        "depth": (1 + y * width + x).astype(np.float32),
        "normals": np.stack([1 + x, 1 + y, np.ones_like(x)], axis=-1).astype(np.float32),
    }


def augmentation(tasks: tuple[Task, ...], crop: tuple[int, int] | None = None, **options: Any) -> Augmentation:
    """Return the default augmentation with these options, and without jitter unless it is one of them."""
    return Augmentation(tasks, crop, Augment(**{"jitter": 0.0} | options))


def photo(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return coordinates() | {"rgb": rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_tensors_have_the_shapes_and_types_that_networks_and_losses_take():
    sample = coordinates() | {"other": np.zeros(3)}
    for tensors in (to_tensors(sample, TASKS), augmentation(TASKS, jitter=0.4)(sample, 1)):
        dense = {name: t.is_contiguous() for name, t in tensors.items()}
        dense["rgb"] |= tensors["rgb"].permute(1, 2, 0).is_contiguous()
        properties = {name: (t.shape, t.dtype, dense[name]) for name, t in tensors.items()}
        assert properties == {
            "rgb": ((3, HEIGHT, WIDTH), torch.uint8, True),
            "semseg": ((HEIGHT, WIDTH), torch.uint8, True),
            "depth": ((1, HEIGHT, WIDTH), torch.float32, True),
            "normals": ((3, HEIGHT, WIDTH), torch.float32, True),
        }
        for task in TASKS:
            blank = learning(task).blank(HEIGHT, WIDTH)
            assert (blank.shape, blank.dtype) == properties[task.name][:2]


def test_blank_labels_are_unlabelled():
    assert (learning(SEMSEG).blank(2, 3) == 255).all()
    assert not learning(DEPTH).blank(2, 3).any()
    assert not learning(NORMALS).blank(2, 3).any()


def test_to_tensors_keeps_every_value():
    sample = photo()
    tensors = to_tensors(sample, TASKS)
    assert np.array_equal(tensors["rgb"].permute(1, 2, 0), sample["rgb"])
    assert np.array_equal(tensors["semseg"], sample["semseg"])
    assert np.array_equal(tensors["depth"][0], sample["depth"])
    assert np.array_equal(tensors["normals"].permute(1, 2, 0), sample["normals"])


@pytest.mark.filterwarnings("error")
def test_arrays_that_torch_does_not_take_and_tensors_are_taken_too():
    sample = photo()
    expected = to_tensors(sample, TASKS)
    reversed_twice = {name: array[:, ::-1].copy()[:, ::-1] for name, array in sample.items()}
    reversed_twice["rgb"] = sample["rgb"][..., ::-1].copy()[..., ::-1]  # as OpenCV's BGR is converted
    assert same(to_tensors(reversed_twice, TASKS), expected)
    assert same(augmentation(TASKS)(reversed_twice, 5), augmentation(TASKS)(photo(), 5))
    tensors = {name: torch.from_numpy(array) for name, array in photo().items()}
    for array in sample.values():
        array.setflags(write=False)
    assert same(to_tensors(sample, TASKS), expected)
    assert same(to_tensors(tensors, TASKS), expected)
    assert same(augmentation(TASKS)(sample, 5), augmentation(TASKS)(tensors, 5))


def test_all_off_is_the_identity():
    augment = augmentation(TASKS, flip=False, zoom=(1.0,), jitter=0.0)
    sample = photo()
    assert all(same(augment(sample, seed), to_tensors(sample, TASKS)) for seed in SEEDS)


def test_the_sample_is_left_as_it_is():
    sample, untouched = photo(), photo()
    for seed in SEEDS:
        for tensor in augmentation(TASKS, jitter=0.5)(sample, seed).values():
            tensor.zero_()  # results are fresh memory
    assert all(np.array_equal(sample[name], untouched[name]) for name in sample)


def test_a_seed_gives_the_same_bytes_whatever_the_global_random_states():
    augment, sample = augmentation(TASKS, crop=(24, 32), jitter=0.4), photo()
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
        results.append([augment(sample, seed) for seed in SEEDS])
    assert all(same(a, b) for a, b in zip(*results, strict=True))
    assert len({t["depth"].numpy().tobytes() for t in results[0]}) > len(SEEDS) // 2
    assert same(pickle.loads(pickle.dumps(augment))(sample, 3), augment(sample, 3))  # noqa: S301 - to a worker


def test_global_random_states_are_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()
    augmentation(TASKS, jitter=0.4)(photo(), 1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]
    assert random.getstate() == before[2]


@pytest.mark.parametrize("present", [(), ("semseg",), ("depth",), ("normals", "depth")])
def test_what_a_sample_lacks_changes_nothing_for_the_rest(present):
    augment, sample = augmentation(TASKS, crop=(24, 32), jitter=0.4), photo()
    part = {name: sample[name] for name in ("rgb", *present)}
    for seed in SEEDS:
        expected, result = augment(sample, seed), augment(part, seed)
        assert same(result, {name: expected[name] for name in result})
        assert result.keys() == part.keys()


def test_options_do_not_shift_each_others_draws():
    sample = photo()
    for seed in SEEDS:
        plain = augmentation(TASKS)(sample, seed)
        jittered = augmentation(TASKS, jitter=0.4)(sample, seed)
        assert same(jittered | {"rgb": plain["rgb"]}, plain)
        unflipped = augmentation(TASKS, flip=False)(sample, seed)["depth"]
        assert any(torch.equal(plain["depth"], t) for t in (unflipped, unflipped.flip(-1)))


@pytest.mark.parametrize("crop", [None, (30, 41)])
def test_every_member_shows_the_same_places(crop):
    """The rows and columns decoded from all members agree: exactly among labels, to a pixel with the image."""
    metre = Task("metre", "scalar", scale=0.001, unit="m")
    sample = coordinates() | {"metre": np.ones((HEIGHT, WIDTH), np.float32)}
    augment = augmentation((*TASKS, metre), crop=crop, zoom=(1.0, 1.2, 1.5, 2.0))
    for seed in SEEDS:
        tensors = augment(sample, seed)
        factor = 1 / float(tensors["metre"][0, 0, 0])
        x = tensors["semseg"].long()
        index = (tensors["depth"][0] * factor - 1).round().long()
        y = index // WIDTH
        assert torch.equal(index % WIDTH, x)
        flipped = bool(x[0, 0] > x[0, -1])
        across, down = tensors["normals"][:2] / tensors["normals"][2] * factor
        torch.testing.assert_close(across, (1.0 + x) * (-1 if flipped else 1), rtol=1e-5, atol=0)
        torch.testing.assert_close(down, 1.0 + y, rtol=1e-5, atol=0)
        # The image is interpolated between pixel centres, so a label is at most half a pixel from it.
        assert (tensors["rgb"][0] / 2 - y).abs().max() <= 0.5 + 0.25
        assert (tensors["rgb"][1] / 2 - x).abs().max() <= 0.5 + 0.25
        # It spans as much of the frame as the zoom says.
        height, width = crop or (HEIGHT, WIDTH)
        assert int(y.max() - y.min()) + 1 == round(height / factor)
        assert int(x.max() - x.min()) + 1 == round(width / factor)


def test_depth_is_divided_by_the_zoom_and_no_measurement_stays_none():
    sample = photo() | {"depth": np.full((HEIGHT, WIDTH), 6.0, np.float32)}
    sample["depth"][::2] = 0
    for zoom in (1.0, 1.2, 1.5):
        depth = augmentation(TASKS, zoom=(zoom,))(sample, 0)["depth"]
        assert set(depth.unique().tolist()) == {0.0, float(np.float32(6.0) / np.float32(zoom))}


def test_each_quantity_does_under_zoom_what_its_task_says():
    """An object that looks z times nearer has 1/z of its depth, z times its inverse depth, and the same temperature."""
    inverse = Task("inverse_depth", "scalar", scale=2**-16, unit="1/m", zoom="multiply")
    heat = Task("heat", "scalar", scale=0.1, unit="K", zoom="keep")
    values = {"depth": 4.0, "inverse_depth": 0.25, "heat": 300.0}
    sample = photo() | {name: np.full((HEIGHT, WIDTH), value, np.float32) for name, value in values.items()}
    for member in values:
        sample[member][::2] = 0
    tensors = augmentation((DEPTH, inverse, heat), zoom=(1.5,))(sample, 0)
    assert set(tensors["heat"].unique().tolist()) == {0.0, 300.0}
    measured = tensors["depth"] > 0
    assert set(tensors["inverse_depth"].unique().tolist()) == {0.0, 0.375}
    torch.testing.assert_close(tensors["inverse_depth"][measured], 1 / tensors["depth"][measured])


def test_normals_turn_with_the_zoom_as_the_surface_of_the_divided_depth_does():
    """Points of a plane, back-projected from the zoomed depth by the same camera, lie at one distance along the zoomed
    normal, where the window is at the frame's centre."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(x - (WIDTH - 1) / 2) / 60, (y - (HEIGHT - 1) / 2) / 60, np.ones_like(x)], -1)
    normal = np.array([0.48, -0.64, -0.6])
    sample = coordinates() | {"normals": np.broadcast_to(normal, (HEIGHT, WIDTH, 3)).astype(np.float32)}
    sample["depth"] = (-2 / (rays @ normal)).astype(np.float32)
    assert sample["depth"].min() > 0
    sample["normals"][:3] = 0
    for seed in range(10):
        tensors = augmentation(TASKS, flip=False, zoom=(1.5,), zoom_window="centre")(sample, seed)
        vectors = tensors["normals"].permute(1, 2, 0).numpy()
        distance = (rays * tensors["depth"][0, ..., None].numpy() * vectors).sum(-1)
        assert distance.std() / abs(distance.mean()) < 0.03
        assert np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)
        unturned = (rays * tensors["depth"][0, ..., None].numpy() * normal).sum(-1)
        assert unturned.std() / abs(unturned.mean()) > 0.1
    augment = augmentation(TASKS, flip=False, zoom=(1.5,))
    top = min((augment(sample, seed) for seed in SEEDS), key=lambda tensors: tensors["rgb"][0].min())
    assert not top["normals"][:, 0].any(), "no label stays none"


def middle_of(tensors: dict[str, torch.Tensor]) -> list[float]:
    """Return the row and column that the middle of an augmented frame of :func:`coordinates` comes from."""
    index = tensors["depth"][0, [0, -1], [0, -1]] - 1
    return [float((index // WIDTH).mean()), float((index % WIDTH).mean())]


@pytest.mark.parametrize("crop", [None, (24, 42)])
def test_a_zoom_about_the_centre_shows_the_middle_of_what_it_enlarges(crop):
    metre = Task("metre", "scalar", scale=0.001, unit="m")
    sample = coordinates() | {"metre": np.ones((HEIGHT, WIDTH), np.float32)}
    middles = set()
    for seed in SEEDS:
        whole, zoomed, anywhere = (
            augmentation((DEPTH, metre), crop, flip=False, zoom=zoom, zoom_window=window)(sample, seed)
            for zoom, window in [((1.0,), "centre"), ((1.2, 1.5), "centre"), ((1.2, 1.5), "random")]
        )
        factor = 1 / float(zoomed["metre"][0, 0, 0])
        assert factor == pytest.approx(1 / float(anywhere["metre"][0, 0, 0])), "the window shifts no other draw"
        assert middle_of({"depth": zoomed["depth"] * factor}) == pytest.approx(middle_of(whole), abs=0.51)
        middles.add(tuple(middle_of(whole)))
    assert len(middles) == 1 if crop is None else len(middles) > 10


def test_the_window_matters_to_a_zoom_alone():
    sample = photo()
    for seed in SEEDS:
        options = {"crop": (24, 32), "zoom": (1.0,), "jitter": 0.4}
        central = augmentation(TASKS, **options, zoom_window="centre")(sample, seed)
        assert same(central, augmentation(TASKS, **options)(sample, seed))
    windows = {name: augmentation(TASKS, zoom=(1.5,), zoom_window=name)(sample, 0) for name in ("random", "centre")}
    assert same(augmentation(TASKS, zoom=(1.5,))(sample, 0), windows["random"]), "the default"
    assert not same(windows["random"], windows["centre"])


def test_every_zoom_and_both_sides_occur_about_equally_often():
    sample = {"rgb": photo()["rgb"], "depth": np.full((HEIGHT, WIDTH), 6.0, np.float32)}
    depths = [float(augmentation(TASKS)(sample, seed)["depth"][0, 0, 0]) for seed in range(600)]
    assert all(150 < sum(abs(d - 6 / z) < 0.01 for d in depths) < 250 for z in (1.0, 1.2, 1.5))
    row = {"rgb": coordinates()["rgb"]}
    changed = (augmentation(())(row, seed)["rgb"] for seed in range(600))
    flips = sum(bool(rgb[1, 0, 0] > rgb[1, 0, -1]) for rgb in changed)
    assert 250 < flips < 350


def test_crops_reach_every_corner_and_nothing_beyond():
    augment = augmentation((DEPTH,), crop=(46, 62), flip=False, zoom=(1.0,))
    corners = {int(augment(coordinates(), seed)["depth"][0, 0, 0]) - 1 for seed in range(300)}
    assert corners == {y * WIDTH + x for y in range(3) for x in range(3)}


def test_a_flip_mirrors_and_negates_the_x_component_only():
    sample = photo()
    plain = to_tensors(sample, TASKS)
    augment = augmentation(TASKS, zoom=(1.0,))
    outcomes = set()
    for seed in SEEDS:
        result = augment(sample, seed)
        mirrored = {name: t.flip(-1) for name, t in plain.items()}
        mirrored["normals"] = mirrored["normals"] * torch.tensor([-1.0, 1, 1])[:, None, None]
        outcomes.add(same(result, mirrored))
        assert same(result, mirrored) or same(result, plain)
    assert outcomes == {True, False}


def test_a_label_keeps_its_values_under_zoom():
    sample = photo() | {"semseg": np.where(np.indices((HEIGHT, WIDTH)).sum(0) % 2, 199, 255).astype(np.uint8)}
    for seed in SEEDS:
        assert set(augmentation(TASKS)(sample, seed)["semseg"].unique().tolist()) == {199, 255}


def test_jitter_changes_colours_alone_and_by_no_more_than_it_says():
    sample = photo() | {"rgb": np.full((HEIGHT, WIDTH, 3), 100, np.uint8)}
    augment = augmentation(TASKS, flip=False, zoom=(1.0,), jitter=0.2)
    results = [augment(sample, seed) for seed in SEEDS]
    values = [result["rgb"].unique().tolist() for result in results]
    # Grey has nothing but brightness; each of the three steps rounds down.
    assert all(len(value) == 1 and 80 - 3 <= value[0] <= 120 for value in values)
    assert len({value[0] for value in values}) > 10
    colours = [augmentation((), flip=False, zoom=(1.0,), jitter=0.2)(photo(), seed)["rgb"] for seed in SEEDS]
    assert len({c.numpy().tobytes() for c in colours}) == len(SEEDS)
    plain = to_tensors(sample, TASKS)
    assert all(same(result | {"rgb": plain["rgb"]}, plain) for result in results)


def test_grey_and_blur_reach_a_share_of_the_images_and_nothing_else():
    sample = photo()
    plain = [augmentation(TASKS, jitter=0.4)(sample, seed) for seed in range(200)]
    grey = [augmentation(TASKS, jitter=0.4, grey=0.5)(sample, seed) for seed in range(200)]
    blurred = [augmentation(TASKS, jitter=0.4, blur=0.5)(sample, seed) for seed in range(200)]
    colourless = [bool((t["rgb"] == t["rgb"][:1]).all()) for t in grey]
    assert 75 < sum(colourless) < 125
    smooth = [float(t["rgb"].float().diff(dim=-1).abs().mean()) for t in blurred]
    rough = [float(t["rgb"].float().diff(dim=-1).abs().mean()) for t in plain]
    assert 75 < sum(not same(one, other) for one, other in zip(plain, blurred, strict=True)) < 125
    assert all(one <= other + 1e-6 for one, other in zip(smooth, rough, strict=True))
    for one, *others in zip(plain, grey, blurred, strict=True):
        assert all(same(other | {"rgb": one["rgb"]}, one) for other in others)


def test_a_frame_smaller_than_the_crop_is_a_user_error():
    with pytest.raises(UserError, match="49×64 is larger than the frame's 48×64"):
        augmentation(TASKS, crop=(49, 64))(photo(), 0)
