"""The rendered rooms: the same in every process, geometrically exact, with classes that colour alone does not tell."""

import hashlib
import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from shards.errors import UserError
from shards.sources.scenes import CLASSES, Scenes
from shards.sources.scenes.geometry import Boxes, Camera, cast, look, rotate, shadowed
from shards.sources.scenes.materials import TEXTURES
from shards.sources.scenes.piece import Piece
from shards.sources.scenes.plan import FloorPlan, Prism
from shards.sources.scenes.render import blur, trace
from shards.sources.scenes.room import build

NAMES = list(CLASSES)
SIZE = (48, 64)


@pytest.fixture(scope="module")
def frames():
    source = Scenes(train=80, size=SIZE)
    return [source.load("train", position) for position in range(80)]


def digest(frame):
    content = hashlib.sha256(json.dumps(frame.meta).encode())
    for array in (frame.rgb, *frame.labels.values()):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def unproject(frame):
    """Return the world points (H, W, 3) of a frame, computed from its depth and its meta alone."""
    depth, camera = frame.labels["depth"].astype(float), frame.meta["intrinsics"]
    row, column = np.indices(depth.shape)
    x, y = (column - camera["cx"]) / camera["fx"], (row - camera["cy"]) / camera["fy"]
    pose = np.array(frame.meta["camera_to_world"])
    return np.stack([x * depth, y * depth, depth], axis=-1) @ pose[:3, :3].T + pose[:3, 3]


def arrays(*boxes):
    """Return boxes of (centre, half, yaw), of which the first is the room."""
    centre, half, yaw = (np.array(column, np.float32) for column in zip(*boxes, strict=True))
    return Boxes(centre.T, half.T, yaw)


# -- what a source promises -------------------------------------------------------------------------------------


def test_it_declares_its_tasks_its_keys_and_all_that_frames_follow_from():
    source = Scenes(train=3, val=2, size=(32, 40), seed=5)
    assert source.splits == {
        "train": ["train_000000", "train_000001", "train_000002"],
        "val": ["val_000000", "val_000001"],
    }
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for keys in source.splits.values() for key in keys)
    assert {"train": 3, "val": 2, "size": [32, 40], "seed": 5}.items() <= source.options.items()
    assert json.loads(json.dumps(source.options)) == source.options
    semseg, depth = source.tasks
    assert (semseg.kind, semseg.classes, len(set(semseg.colours))) == ("classes", tuple(NAMES), len(NAMES))
    assert (depth.kind, depth.scale, depth.unit) == ("scalar", 0.001, "m")
    assert pickle.loads(pickle.dumps(source)).options == source.options  # noqa: S301


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (31, 45), (240, 320)])
def test_a_frame_of_any_size_is_whole(size):
    frame = Scenes(size=size).load("val", 3)
    semseg, depth = frame.labels["semseg"], frame.labels["depth"]
    assert isinstance(frame.rgb, np.ndarray)
    assert (frame.rgb.shape, frame.rgb.dtype) == ((*size, 3), np.uint8)
    assert (semseg.shape, semseg.dtype, depth.shape, depth.dtype) == (size, np.uint8, size, np.float32)
    json.dumps(frame.meta)


@pytest.mark.parametrize("options", [{"train": -1}, {"val": -1}, {"seed": -1}, {"size": (96, 4)}])
def test_an_impossible_option_is_named(options):
    with pytest.raises(UserError, match=f"scenes.{next(iter(options))}: .*; give .* or more"):
        Scenes(**options)


# -- a frame is a function of (seed, split, position, size) ------------------------------------------------------


def test_a_frame_does_not_depend_on_the_order_of_calls_nor_on_the_counts():
    forwards, backwards = Scenes(train=4, size=SIZE), Scenes(train=900, val=7, size=SIZE)
    first = [digest(forwards.load("train", position)) for position in range(4)]
    assert first == [digest(backwards.load("train", position)) for position in reversed(range(4))][::-1]


def test_a_frame_is_the_same_in_another_process(frames):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_scenes import SIZE, Scenes, digest\n"
        "print(digest(Scenes(size=SIZE).load('train', 5)))"
    )
    folder = __file__.rpartition("/")[0]
    result = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest(frames[5])


def test_seeds_splits_and_positions_give_other_frames():
    source = Scenes(size=SIZE)
    others = [source.load("train", 1), source.load("val", 0), Scenes(size=SIZE, seed=1).load("train", 0)]
    assert len({digest(frame) for frame in (source.load("train", 0), *others)}) == 4


def test_the_size_changes_the_resolution_and_not_the_room():
    small, large = (Scenes(size=size).load("train", 2) for size in ((48, 64), (144, 192)))
    for key in ("camera_to_world", "room"):
        assert small.meta[key] == large.meta[key]
    # Pixel i of the small image covers pixels 3i..3i+2 of the large one: the middle one has the same ray.
    np.testing.assert_array_equal(small.labels["semseg"], large.labels["semseg"][1::3, 1::3])
    np.testing.assert_allclose(small.labels["depth"], large.labels["depth"][1::3, 1::3], rtol=1e-3)


# -- geometric truth ---------------------------------------------------------------------------------------------


def test_depth_is_exact_on_a_box_whatever_its_yaw():
    room = ((2, 2, 1.5), (2, 2, 1.5), 0.0)
    camera = Camera((9, 9), 40.0, look(0.0, 0.0, 0.0), np.array([0.5, 2.0, 1.5]))  # it looks along +x
    depth, index = cast(camera, arrays(room, ((3, 2, 1.5), (0.4, 0.3, 0.2), 0.0)))
    assert (depth[4, 4], index[4, 4]) == (pytest.approx(2.1), 1)  # its near face is at x = 2.6
    depth, index = cast(camera, arrays(room, ((3, 2, 1.5), (0.3, 0.3, 0.2), np.pi / 4)))
    assert (depth[4, 4], index[4, 4]) == (pytest.approx(2.5 - 0.3 * np.sqrt(2)), 1)  # the nearest edge
    depth, index = cast(camera, arrays(room, ((3, 2.9, 1.5), (0.4, 0.3, 0.2), 0.0)))
    assert (depth[4, 4], index[4, 4]) == (pytest.approx(3.5), 0)  # it has moved aside: the wall at x = 4
    assert np.ptp(depth[index == 0]) < 1e-5  # z-depth: a wall across the axis is equally deep everywhere


def test_the_camera_looks_right_down_and_forward():
    np.testing.assert_allclose(rotate(np.array([1.0, 0, 2]), np.array(np.pi / 2)), [0, 1, 2], atol=1e-12)
    rotation = look(yaw=0.7, pitch=0.2, roll=0.1)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    right, down, forward = look(0.0, 0.0, 0.0).T
    np.testing.assert_allclose([right, down, forward], [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-12)
    assert look(0.0, 0.3, 0.0)[2, 2] > 0  # a positive pitch looks up
    camera = Camera((5, 7), 10.0, rotation, np.zeros(3))
    np.testing.assert_allclose(camera.rays()[:, 2, 3], rotation[:, 2], atol=1e-6)  # the centre's ray


def nearest(camera, boxes):
    """Return z-depth and index of the nearest box, by testing all boxes in double precision."""
    rays = camera.rays().astype(float).reshape(3, -1)
    depths = []
    for number, (centre, half, yaw) in enumerate(zip(boxes.centre.T, boxes.half.T, boxes.yaw, strict=True)):
        axes = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        origin, direction = axes @ (camera.position - centre), axes @ rays
        with np.errstate(divide="ignore"):  # along a face
            ends = np.stack([(sign * half - origin)[:, None] / direction for sign in (-1, 1)])
        enter, leave = ends.min(0).max(0), ends.max(0).min(0)
        depths.append(leave if number == 0 else np.where((enter < leave) & (enter > 0), enter, np.inf))
    return np.min(depths, axis=0).reshape(camera.size), np.argmin(depths, axis=0).reshape(camera.size)


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_sees_the_nearest_box_of_a_real_room(seed):
    room = build(np.random.default_rng(seed))
    position = np.array([room.size[0] / 2, 0.4, 1.4])
    camera = Camera((24, 32), 20.0, look(1.4, -0.2, 0.05), position)
    depth, index = cast(camera, room.boxes)
    true_depth, true_index = nearest(camera, room.boxes)
    np.testing.assert_allclose(depth, true_depth, rtol=1e-4)
    assert (index == true_index).mean() > 0.99  # faces in one plane may tie
    assert np.unique(index).size > 5


def test_a_box_that_reaches_behind_the_camera_is_seen_whole():
    """It crosses from the front right of the camera to its back left: its corners project to the wrong side."""
    boxes = arrays(((5, 5, 1.5), (5, 5, 1.5), 0.0), ((5, 4.7, 1.5), (3, 0.05, 0.3), np.arctan2(-0.7, 3)))
    camera = Camera((25, 33), 12.0, look(0.0, 0.0, 0.0), np.array([5.0, 5.0, 1.5]))
    depth, index = cast(camera, boxes)
    true_depth, true_index = nearest(camera, boxes)
    np.testing.assert_allclose(depth, true_depth, rtol=1e-4)
    assert (index[:, -1] == 1).any() and (index == true_index).all()


def test_unprojected_pixels_lie_where_the_meta_says(frames):
    wall_shares = []
    for frame in frames:
        points, semseg, size = unproject(frame), frame.labels["semseg"], np.array(frame.meta["room"])
        assert (points > -2e-3).all() and (points < size + 2e-3).all()
        assert np.abs(points[semseg == NAMES.index("floor"), 2]).max(initial=0) < 2e-3
        assert np.abs(points[semseg == NAMES.index("ceiling"), 2] - size[2]).max(initial=0) < 2e-3
        wall = points[semseg == NAMES.index("wall"), :2]
        wall_shares.append((np.minimum(np.abs(wall), np.abs(wall - size[:2])).min(1) < 2e-3).mean())
    assert np.mean(wall_shares) > 0.85  # the others are pillars and skirting boards


def test_normals_face_the_camera_and_surfaces_their_sides():
    boxes = arrays(((2, 2, 1.5), (2, 2, 1.5), 0.0), ((3, 2, 1.5), (0.3, 0.3, 0.2), 0.5))
    camera = Camera((31, 41), 30.0, look(0.3, -0.2, 0.0), np.array([0.5, 1.5, 1.6]))
    hits = trace(camera, boxes)
    rays = hits.point - camera.position[:, None]
    assert ((rays * hits.normal).sum(0) < 0).all()
    np.testing.assert_allclose((hits.normal**2).sum(0), 1, rtol=1e-5)
    floor, far = hits.surface == 4, hits.surface == 1
    assert floor.any() and (np.abs(hits.point[2, floor]) < 1e-4).all() and (hits.normal[2, floor] == 1).all()
    assert far.any() and (np.abs(hits.point[0, far] - 4) < 1e-4).all() and (hits.normal[0, far] == -1).all()
    assert (hits.surface == 6).any()  # the box follows the room's six faces


def test_depth_is_finite_far_enough_and_fits_its_file(frames):
    depth = np.stack([frame.labels["depth"] for frame in frames])
    assert np.isfinite(depth).all()
    assert depth.min() > 0.2 and depth.max() < 10  # nothing before the lens; a room's diagonal
    assert depth.max() / 0.001 < 2**16
    assert min(np.median(frame) for frame in depth) > 0.8


def test_a_box_throws_its_shadow_away_from_the_light():
    boxes = arrays(((2, 2, 1.5), (2, 2, 1.5), 0.0), ((2, 2, 1), (0.3, 0.2, 0.1), 0.4))
    light = np.array([2, 2, 2.5], np.float32)
    points = np.array([[2, 2, 0.01], [2.4, 2.1, 0.01], [2, 2, 1.2], [2, 2.6, 0.01], [3.5, 2, 0.01]], np.float32).T
    targets = np.repeat(light[:, None], points.shape[1], 1)
    # The box ends 0.3 m beside the light's foot; from 1.4 m above its top that is 0.53 m on the floor.
    assert shadowed(points, targets, light, 0.0, boxes).tolist() == [True, True, False, False, False]
    light[2], targets[2] = 0.8, 0.8  # under the box, which darkens only what is above it
    assert shadowed(points, targets, light, 0.0, boxes).tolist() == [False, False, True, False, False]


def test_a_tent_filter_keeps_the_mean_of_a_chessboard():
    chessboard = np.indices((6, 8)).sum(0)[None] % 2
    np.testing.assert_allclose(blur(chessboard.astype(np.float32), 0.25)[0, 1:-1, 1:-1], 0.5)


# -- rooms -------------------------------------------------------------------------------------------------------


def test_prisms_meet_only_where_they_share_space():
    square = Prism(0, 0, 0.0, 1, 1, 0, 1)
    assert square.overlaps(Prism(1.9, 0, 0.0, 1, 1, 0, 1))
    assert not square.overlaps(Prism(2.1, 0, 0.0, 1, 1, 0, 1))
    assert not square.overlaps(Prism(0, 0, 0.0, 1, 1, 1, 2))  # one on top of the other
    assert square.overlaps(Prism(2.3, 0, np.pi / 4, 1, 1, 0, 1))  # its corner reaches 1.41
    assert not square.overlaps(Prism(1.8, 1.8, np.pi / 4, 1, 1, 0, 1))  # corner to side, circles meet


def test_a_piece_at_a_wall_turns_its_back_to_it():
    piece = Piece("shelf")
    piece.add(0, (1.0, 0.4, 2.0))
    piece.add(1, (1.0, 0.1, 2.0), (0, 0.15, 0))  # the back board
    plan = FloorPlan(np.random.default_rng(0), (5.0, 4.0, 2.5))
    assert sum(plan.lean(piece, gap=0.0) for _ in range(6)) >= 4
    for body, back in zip(plan.parts[::2], plan.parts[1::2], strict=True):
        to_wall = [min(p.centre[0], 5 - p.centre[0], p.centre[1], 4 - p.centre[1]) for p in (body, back)]
        assert to_wall == [pytest.approx(0.2), pytest.approx(0.05)]
    assert not any(a.overlaps(b) for i, a in enumerate(plan.solid) for b in plan.solid[:i])


def test_furniture_stands_in_the_room_on_free_ground():
    for seed in range(20):
        room = build(np.random.default_rng(seed))
        corners = room.boxes.corners()[:, 1:]
        assert (corners > -0.02).all() and (corners < np.array(room.size)[:, None, None] + 0.02).all()
        overlapping = [(a, b) for i, a in enumerate(room.solid) for b in room.solid[:i] if a.overlaps(b)]
        assert len(overlapping) <= 4  # chairs that are drawn up to a table, at most two on either side
        assert len(room.solid) >= 3


def test_textures_stay_between_their_two_colours():
    u, v = (axis.reshape(-1).astype(np.float32) for axis in np.meshgrid(*2 * [np.linspace(-7, 50, 301)]))
    height = np.linspace(0, 1, u.size, dtype=np.float32)
    for name, (texture, _) in TEXTURES.items():
        mix = texture(u, v, height)
        assert 0 <= mix.min() < mix.max() <= 1, name
    assert sum(share for _, share in TEXTURES.values()) == pytest.approx(1)


# -- what there is to learn --------------------------------------------------------------------------------------


def test_every_class_is_seen_often_enough(frames):
    seen = np.mean([[(frame.labels["semseg"] == c).sum() >= 5 for c in range(len(NAMES))] for frame in frames], axis=0)
    assert seen.min() >= 0.1, dict(zip(NAMES, seen, strict=True))
    assert max(frame.labels["semseg"].max() for frame in frames) < len(NAMES)


def test_colour_alone_does_not_tell_the_class(frames):
    """The nearest mean colour of a class, fitted on one half of the frames, hardly beats chance on the other."""
    colours = np.stack([frame.rgb for frame in frames]).reshape(2, -1, 3).astype(np.float32)
    classes = np.stack([frame.labels["semseg"] for frame in frames]).reshape(2, -1)
    means = np.stack([colours[0][classes[0] == c].mean(0) for c in range(len(NAMES))])
    guess = ((colours[1][:, None] - means) ** 2).sum(-1).argmin(1)
    recall = [(guess[classes[1] == c] == c).mean() for c in range(len(NAMES))]
    assert np.mean(recall) < 2.5 / len(NAMES)


def test_pictures_are_neither_black_nor_burnt_out(frames):
    means = np.array([frame.rgb.mean() for frame in frames])
    assert means.min() > 60 and means.max() < 215
    assert np.mean([frame.rgb.std() for frame in frames]) > 25
    assert all((frame.rgb == 255).all(-1).mean() < 0.35 for frame in frames)
