"""Normals from depth: planes and rendered rooms, whose true normals are known, and sources with normals added."""

import pickle

import numpy as np
import pytest
from tiny import SEMSEG, Tiny

from shards.errors import UserError
from shards.normals import normals_of
from shards.pack import pack
from shards.read import Readers
from shards.sources.base import Frame
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from shards.sources.scenes.geometry import Boxes, Camera, look
from shards.sources.scenes.render import trace
from shards.sources.scenes.room import build
from shards.sources.scenes.view import choose
from shards.tasks import Task

CAMERA = {"fx": 50.0, "fy": 60.0, "cx": 20.3, "cy": 11.8}
SIZE = (24, 40)


def rays(size=SIZE, camera=CAMERA):
    """Return the camera coordinates (H, W, 3) of every pixel at z = 1."""
    row, column = np.indices(size)
    x, y = (column - camera["cx"]) / camera["fx"], (row - camera["cy"]) / camera["fy"]
    return np.stack([x, y, np.ones(size)], -1)


def degrees(vectors, reference):
    """Return the angle between vectors (..., 3), in degrees."""
    cross_norm = np.linalg.norm(np.cross(vectors, reference), axis=-1)
    return np.degrees(np.arctan2(cross_norm, (vectors * reference).sum(-1)))


@pytest.mark.parametrize("window", [3, 7])
def test_a_plane_has_one_normal_that_faces_the_camera_up_to_the_maps_border(window):
    random = np.random.default_rng(0)
    for _ in range(20):
        normal = random.normal(size=3)
        normal[2] = -abs(normal[2]) - 1.5  # all that the camera sees of the plane lies in front of it
        normal /= np.linalg.norm(normal)
        depth = (-2 / (rays() @ normal)).astype(np.float32)
        assert depth.min() > 0
        normals = normals_of(depth, CAMERA, window)
        assert normals.dtype == np.float32 and degrees(normals, normal).max() < 0.05
        assert ((normals * rays()).sum(-1) < 0).all()


def test_axes_point_right_down_and_forward():
    floor = np.where(np.arange(24)[:, None] > 14, 1.5 * 60 / np.maximum(np.arange(24)[:, None] - 11.8, 0.1), 0)
    normals = normals_of(np.broadcast_to(floor, SIZE), CAMERA)
    assert degrees(normals[15:], (0, -1, 0)).max() < 1e-3, "a floor's normal points up, which is -y"
    wall = np.where(np.arange(40) > 24, 2 * 50 / np.maximum(np.arange(40) - 20.3, 0.1), 0)
    normals = normals_of(np.broadcast_to(wall, SIZE), CAMERA)
    assert degrees(normals[:, 25:], (-1, 0, 0)).max() < 1e-3, "a wall on the right faces left, which is -x"


def test_both_sides_of_an_edge_keep_their_own_normal():
    """An edge in depth (occlusion), and an edge in direction (where two walls meet)."""
    depth = np.full(SIZE, 3.0)
    depth[:, 17:] = 2.0
    assert degrees(normals_of(depth, CAMERA), (0, 0, -1)).max() < 1e-5
    left, right = np.array([-0.6, 0, -0.8]), np.array([0.6, 0, -0.8])
    depth = np.minimum(-2 / (rays() @ left), -2 / (rays() @ right))
    normals = normals_of(depth, CAMERA)
    is_left = (-2 / (rays() @ left)) < (-2 / (rays() @ right))
    assert is_left.any() and not is_left.all()
    assert degrees(normals, np.where(is_left[..., None], left, right)).max() < 1e-3


def test_there_is_no_normal_where_depth_is_missing_or_no_plane_fits():
    depth = np.full(SIZE, 2.0)
    depth[5:8, 6:9] = 0
    normals = normals_of(depth, CAMERA)
    assert np.array_equal((normals == 0).all(-1), depth == 0), "the pixels around a hole have windows without it"
    depth = np.full(SIZE, 2.0)
    depth[:, 20] = 1.0  # thinner than any window
    assert np.array_equal((normals_of(depth, CAMERA) == 0).all(-1), depth == 1)
    assert not normals_of(np.zeros(SIZE), CAMERA).any()
    assert not normals_of(np.full((2, 40), 2.0), CAMERA).any(), "no window fits into two rows"


def test_a_wider_window_sees_through_a_sensors_steps():
    normal = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    size, camera = (120, 160), {"fx": 130.0, "fy": 130.0, "cx": 79.5, "cy": 59.5}
    depth = np.rint(-2 / (rays(size, camera) @ normal) / 0.03) * 0.03
    normals_by_window = {window: normals_of(depth, camera, window) for window in (3, 15)}
    accuracy = {
        window: ((normals != 0).any(-1) & (degrees(normals, normal) < 3)).mean()
        for window, normals in normals_by_window.items()
    }
    assert accuracy[3] < 0.01 < 0.9 < accuracy[15]


def test_a_box_in_a_room_has_its_true_normals():
    half = np.array([[2, 2, 1.5], [0.4, 0.3, 0.3]], np.float32).T
    boxes = Boxes(np.array([[2, 2, 1.5], [2.6, 2.1, 1.2]], np.float32).T, half, np.array([0, 0.6], np.float32))
    camera = Camera((96, 128), 90.0, look(0.1, -0.4, 0.05), np.array([0.4, 1.8, 2.2]))
    true, hits = true_normals(camera, boxes)
    normals = normals_of(hits.depth.reshape(camera.size), intrinsics(camera))
    labelled = (normals != 0).any(-1)
    assert labelled.mean() > 0.99 and (degrees(normals, true)[labelled] < 0.1).mean() > 0.99
    on_box = (hits.surface == 6).reshape(camera.size) & labelled
    assert len(np.unique(true[on_box].round(3), axis=0)) == 3, "its top and two of its sides are seen"
    assert np.quantile(degrees(normals, true)[on_box], 0.95) < 0.1


@pytest.mark.parametrize("position", range(3))
def test_rendered_rooms_have_their_true_normals(position):
    source = Scenes(size=(96, 128))
    frame = WithNormals(source).load("train", position)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0, 0, position]).spawn(2)[0]))
    room = build(rng)
    true, _ = true_normals(choose(rng, room).camera((96, 128)), room.boxes)
    normals = frame.labels["normals"]
    labelled = (normals != 0).any(-1)
    assert labelled.mean() > 0.8, "what is thinner than three pixels has none"
    assert (degrees(normals, true)[labelled] < 0.1).mean() > 0.98
    np.testing.assert_allclose(np.linalg.norm(normals[labelled], axis=-1), 1, rtol=1e-5)


def true_normals(camera, boxes):
    """Return the renderer's normals in camera coordinates, (H, W, 3), and its hits."""
    hits = trace(camera, boxes)
    return (hits.normal.T @ camera.rotation).reshape(*camera.size, 3), hits


def intrinsics(camera):
    return {"fx": camera.focal, "fy": camera.focal, "cx": camera.centre[0], "cy": camera.centre[1]}


# Sources


def test_normals_stand_beside_depth_and_keep_their_length_at_another_size(tmp_path):
    source = WithNormals(Scenes(train=2, val=1, size=(48, 64)))
    manifest = pack(source, tmp_path, size=(24, 40))
    assert [(task.name, task.kind) for task in manifest.tasks][-1] == ("normals", "unit_vector")
    assert manifest.shards("train")[0].labels == {"semseg": 2, "depth": 2, "normals": 2}
    assert manifest.source["normals"] == {"of": "depth", "window": 3}
    arrays = Readers(manifest, "train")[0].decode(0)
    length = np.linalg.norm(arrays["normals"], axis=-1)
    assert length.shape == (24, 40) and np.abs(length[length > 0] - 1).max() < 0.01
    frame = source.load("train", 0)  # at its original size: resizing picks vectors and does not mix them
    picked = frame.labels["normals"][1::2, np.minimum(((np.arange(40) + 0.5) * 64 / 40).astype(int), 63)]
    assert degrees(arrays["normals"], picked)[length > 0].max() < 0.5


class Known(Tiny):
    """The tiny source with a camera. Every fourth frame has no depth."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        frame.meta["intrinsics"] = CAMERA
        return frame


def test_a_frame_without_depth_has_no_normals():
    source = pickle.loads(pickle.dumps(WithNormals(Known())))  # noqa: S301 - as it goes to worker processes
    for position in range(4):
        labels = source.load("train", position).labels
        assert ("normals" in labels) == ("depth" in labels) == (position != 3)


def test_what_cannot_be_is_said_with_its_cure():
    with pytest.raises(UserError, match=r"train-000: normals need the camera's intrinsics.*; give --intrinsics FX"):
        WithNormals(Tiny()).load("train", 0)
    for window in (1, 4, -3):
        with pytest.raises(UserError, match=f"--window: {window} pixels; give an odd number from 3 up"):
            WithNormals(Tiny(), window)
    two_scalars = Tiny(tasks=(Task("depth", "scalar", scale=1), Task("range", "scalar", scale=1)))
    with pytest.raises(UserError, match="--normals: normals follow from depth, but the scalar tasks are depth, range"):
        WithNormals(two_scalars)
    inverse = Tiny(tasks=(Task("inverse_depth", "scalar", scale=1, zoom="multiply"),))
    with pytest.raises(UserError, match="the scalar tasks are none"):
        WithNormals(inverse)
    with pytest.raises(UserError, match="the scalar tasks are none"):
        WithNormals(Tiny(tasks=(SEMSEG,)))
    with pytest.raises(UserError, match="the data have normals of their own"):
        WithNormals(WithNormals(Tiny()))
