"""The picture of what networks predict."""

import numpy as np
import pytest
from PIL import Image

from analysis.panel import panel
from analysis.shown import ComparisonFrames
from shards.errors import UserError
from shards.read import Readers
from trainer.trainstage import train

GAP, CAPTION, HEIGHT, WIDTH = 6, 20, 160, 320


def cell(path, row: int, column: int) -> np.ndarray:
    top, left = CAPTION + GAP + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
    return np.asarray(Image.open(path))[top : top + HEIGHT, left : left + WIDTH]


def test_a_column_for_truth_and_for_each_network(finished, tmp_path, scenes_dataset):
    """rgb, then semseg: truth, teacher, student; then depth likewise; a row for the first and the last frame."""
    path = tmp_path / "p.png"
    panel([finished("teacher"), finished("student")], path, frames=2)
    image = Image.open(path)
    key = image.height - (2 * (HEIGHT + GAP) + GAP + CAPTION)
    assert image.width == 7 * (WIDTH + GAP) + GAP and key % CAPTION == 0 < key
    colours = [np.asarray(image)[-key + 6, GAP + column * (WIDTH + GAP) + 6].tolist() for column in (1, 4)]
    assert colours[0] in [list(colour) for colour in scenes_dataset.task("semseg").colours], "a class of the truth"
    assert colours[1] == [253, 231, 37], "viridis: the smallest depth is yellow"
    reader, task = Readers(scenes_dataset, "val")[0], scenes_dataset.task("semseg")
    for row, position in enumerate((0, 5)):
        arrays = reader.decode(position)
        for column, picture in ((0, arrays["rgb"]), (1, task.storage.colourise(arrays["semseg"]))):
            assert np.array_equal(cell(path, row, column)[2::5, 2::5], picture), "enlarged five times, pixel by pixel"
    assert not np.array_equal(cell(path, 0, 2), cell(path, 0, 3)), "two networks say the same"


def test_a_task_that_a_network_lacks_has_no_column(make, finished, tmp_path):
    single = make("plain", "tasks=[depth]", "train.steps=1")
    train(single)
    path = tmp_path / "p.png"
    panel([single, finished("student")], path, frames=1)
    assert Image.open(path).width == 6 * (WIDTH + GAP) + GAP


def test_no_more_rows_than_frames(finished, tmp_path):
    panel([finished("student", "val=2")], tmp_path / "p.png", frames=50)
    key = Image.open(tmp_path / "p.png").height - (2 * (HEIGHT + GAP) + GAP + CAPTION)
    assert key % CAPTION == 0 < key, "below two rows"


def test_refusals(make, finished, tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="--frames: 0 frames; give 1 or more"):
        panel([finished("student")], tmp_path / "p.png", frames=0)
    with pytest.raises(UserError, match=r"plain/seed-0/checkpoints/last/model\.json: does not exist; train"):
        panel([make("plain")], tmp_path / "p.png")
    with pytest.raises(UserError, match="belong to different data sets; draw one picture for each"):
        panel([make("student"), make("plain", f"data.path={tiny_dataset.folder}")], tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_all_networks_are_shown_the_same_frames(make, tiny_dataset):
    """A network that needs depth can be shown fewer frames than one that does not."""
    settings = (f"data.path={tiny_dataset.folder}", "labels.semseg=null", "labels.depth=null")
    experiments = [make(name, *settings) for name in ("plain", "teacher")]
    frames = ComparisonFrames(experiments, 5)
    keys = [[frames.loader(experiment)[index][0] for index in range(len(frames.samples))] for experiment in experiments]
    has_depth = experiments[1].evaluation_frames.visible["depth"]
    assert keys[0] == keys[1] and len(keys[0]) == has_depth.sum() < experiments[0].evaluation_frames.count


def test_frames_with_the_labels_of_all_tasks_are_shown_first(make, tiny_dataset):
    """Of its five validation frames, the third lacks semseg and the fourth depth."""
    settings = (f"data.path={tiny_dataset.folder}", "labels.semseg=null", "labels.depth=null")

    def keys(count: int, *overrides: str) -> list[str]:
        samples = ComparisonFrames([make("plain", *settings, *overrides)], count).samples
        return [samples.key(index) for index in range(len(samples))]

    assert keys(2) == ["val-000", "val-004"] and keys(3) == ["val-000", "val-001", "val-004"]
    assert keys(4) == ["val-000", "val-001", "val-002", "val-004"], "one more where these are too few"
    assert keys(4, "tasks=[depth]") == ["val-000", "val-001", "val-002", "val-004"]
    assert keys(5) == [f"val-{number:03d}" for number in range(5)]
