"""Kind ``binary``: masks that overlap, from a folder of images to pseudo-labels, a report and predictions."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from launchers.cli import main
from shards.errors import UserError
from shards.manifest import Manifest
from shards.read import Readers
from shards.tasks import Task, palette
from trainer.kinds import learning
from trainer.predictor import Predictor
from trainer.runs import checkpoint

MASKS = ("drivable", "edge", "graspable")
TASK = Task("masks", "binary", MASKS, palette(3))


def random_label(random: np.random.Generator, masks: int = 3, shape: tuple[int, int] = (9, 11)) -> np.ndarray:
    return random.integers(0, 2**masks + 1, shape).astype(np.int16)


@pytest.mark.parametrize("masks", [1, 3, 7, 8, 14])
def test_every_combination_is_stored_without_loss(masks):
    task = Task("masks", "binary", tuple(map(str, range(masks))), palette(masks))
    label = np.arange(2**masks + 1, dtype=np.int32)[None].astype(np.int16)
    stored = task.storage.encode(label)
    assert np.array_equal(task.storage.decode(stored), label) and task.storage.decode(stored).dtype == np.int16
    assert Task.from_json("masks", json.loads(json.dumps(task.to_json()))) == task
    bits = task.storage.masks(label)[0]
    assert not bits[0].any() and np.array_equal(bits[1:] @ (1 << np.arange(masks)), np.arange(2**masks))


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(UserError, match=r"9 is out of range \(0 for no label, 1 to 8\)"):
        TASK.storage.encode(np.array([[9]], np.int16))
    with pytest.raises(UserError, match="15 masks, where 1 to 14 can be stored"):
        Task("masks", "binary", tuple(map(str, range(15))), palette(15))


def test_outputs_that_are_not_numbers_are_measured_as_probability_0():
    label = torch.from_numpy(random_label(np.random.default_rng(0)))[None]
    outputs = torch.full((1, 3, 9, 11), float("nan")), torch.full((1, 3, 9, 11), -float("inf"))
    one, other = (learning(TASK).measure(learning(TASK).decide(outputs[1]), label, output) for output in outputs)
    assert torch.equal(one, other)


def test_files_of_bits_and_of_one_mask_are_read(tmp_path):
    label = random_label(np.random.default_rng(0))
    (tmp_path / "bits.png").write_bytes(TASK.storage.write_file(label))
    _, declaration = TASK.storage.declared({"masks": list(MASKS)})
    assert np.array_equal(TASK.storage.read_file(tmp_path / "bits.png", declaration), label)
    single = Task("free", "binary", ("free",), palette(1))
    Image.fromarray(np.array([[0, 255, 9, 128]], np.uint8)).save(tmp_path / "one.png")
    _, declaration = single.storage.declared({"masks": ["free"], "ignore": 128})
    assert single.storage.read_file(tmp_path / "one.png", declaration).tolist() == [[1, 2, 2, 0]]
    Image.fromarray(np.array([[8]], np.uint8)).save(tmp_path / "wrong.png")
    with pytest.raises(UserError, match=r"wrong\.png: stored 8 has bits beyond the 3 masks"):
        TASK.storage.read_file(tmp_path / "wrong.png", {"ignore": 255})


def test_the_loss_weighs_both_sides_of_a_mask_alike():
    random = np.random.default_rng(1)
    label = random_label(random)
    target = torch.from_numpy(np.stack([label, label[::-1].copy()]))
    output = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2)
    for frame in range(2):
        known = target[frame] != 0
        for mask in range(3):
            holds = torch.from_numpy(TASK.storage.masks(target[frame].numpy())[..., mask])
            loss = F.binary_cross_entropy_with_logits(output[frame, mask], holds.float(), reduction="none")
            sides = [loss[known & holds].mean(), loss[known & ~holds].mean()]
            expected[frame] += known.sum() * sum(sides) / 2 / 3
    loss = learning(TASK).loss(output, target)
    torch.testing.assert_close(loss.sum((1, 2)), expected)
    assert not loss[target == 0].any()
    unlabelled = torch.zeros(1, 4, 4, dtype=torch.int16)
    assert learning(TASK).loss(torch.randn(1, 3, 4, 4), unlabelled).sum() == 0
    negative = torch.ones(1, 4, 4, dtype=torch.int16)
    assert learning(TASK).loss(torch.full((1, 3, 4, 4), -20.0), negative).sum() < 1e-5


def test_metrics_by_their_definitions():
    random = np.random.default_rng(2)
    label = random_label(random, shape=(30, 40))
    target, kind = torch.from_numpy(label)[None], learning(TASK)
    p = torch.from_numpy(np.round(random.random((1, 3, 30, 40)), 3) * 0.998 + 0.0015)
    output = p.logit()
    report = kind.report(kind.measure(kind.decide(output), target, output).tolist())
    iou, f1, precision = [], [], []
    for mask in range(3):
        known = label != 0
        truth, score = TASK.storage.masks(label)[known][:, mask], p[0, mask].numpy()[known]
        predicted = score > 0.5
        true_positives = (truth & predicted).sum()
        iou.append(true_positives / (truth | predicted).sum())
        f1.append(2 * true_positives / (truth.sum() + predicted.sum()))
        levels, area, before = np.unique((score * 1000).astype(int))[::-1], 0.0, 0.0
        for level in levels:
            above = (score * 1000).astype(int) >= level
            recall = (truth & above).sum() / truth.sum()
            area += (recall - before) * (truth & above).sum() / above.sum()
            before = recall
        precision.append(area)
    assert report["iou"] == pytest.approx(iou) and report["mask_iou"] == pytest.approx(np.mean(iou))
    assert report["f1"] == pytest.approx(np.mean(f1))
    assert report["average_precision"] == pytest.approx(np.mean(precision), abs=1e-3)
    assert report["pixels"] == (label != 0).sum()
    stored = kind.report(kind.measure(kind.decide(output), target).tolist())
    assert stored == report | {"average_precision": None}
    small = output[..., ::2, ::2].float()
    resized = F.interpolate(small, (30, 40), mode="bilinear", align_corners=False)
    decision = kind.decide(resized)
    sums = kind.measure(decision, target, small)
    assert (sums - kind.measure(decision, target, resized)).abs().sum() <= 4, "rounding at a bin's edge"


def test_decisions_confidence_and_the_mean_of_two():
    kind = learning(TASK)
    output = torch.tensor([[2.0, -1.0, 0.5]]).view(1, 3, 1, 1)
    assert kind.decide(output).item() == 1 + 1 + 4
    assert kind.confidence(output).item() == pytest.approx(torch.tensor(0.5).sigmoid().item())
    other = torch.tensor([[-4.0, -1.0, 40.0]]).view(1, 3, 1, 1)
    mean, agreement = kind.mean_of_two(output, other)
    torch.testing.assert_close(mean.sigmoid(), (output.sigmoid() + other.sigmoid()) / 2)
    assert agreement is None and mean.isfinite().all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """20 frames of bright objects on the ground; 12 of them have masks."""
    root = tmp_path_factory.mktemp("robot")
    random = np.random.default_rng(3)
    (root / "rgb").mkdir()
    (root / "masks").mkdir()
    for number in range(20):
        rgb = random.integers(0, 60, (64, 96, 3)).astype(np.uint8)
        ground_mask = np.arange(64)[:, None] > random.integers(20, 40) + np.zeros(96, int)
        object_mask = np.zeros((64, 96), bool)
        top, left = random.integers(0, 40), random.integers(0, 60)
        object_mask[top : top + 20, left : left + 30] = True
        rgb[ground_mask] += np.array([90, 40, 0], np.uint8)
        rgb[object_mask] += np.array([0, 90, 90], np.uint8)
        Image.fromarray(rgb).save(root / "rgb" / f"{number:02}.png")
        if number % 2 or number >= 16:
            edge = object_mask ^ np.roll(object_mask, 2, 1)
            Image.fromarray((ground_mask + 2 * edge + 4 * object_mask).astype(np.uint8)).save(
                root / "masks" / f"{number:02}.png"
            )
    declared = {"name": "robot", "tasks": {"masks": {"kind": "binary", "masks": list(MASKS)}}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(declared))
    (root / "train.txt").write_text("\n".join(f"{number:02}" for number in range(16)))
    (root / "val.txt").write_text("\n".join(f"{number:02}" for number in range(16, 20)))
    base = f"""
        data: {{name: robot, path: {root / "data"}, num_workers: 0}}
        tasks: [masks]
        model: {{backbone: test_efficientnet, decoder: heads}}
        train: {{global_batch_size: 4, steps: 120, lr: 3.0e-3}}
        evaluate: {{every: 0}}
        run: {{root: {root / "runs"}}}
    """
    (root / "base.yaml").write_text(base)
    (root / "teacher.yaml").write_text("inherits: base.yaml")
    student = "inherits: base.yaml\npseudo: {masks: {teacher: teacher.yaml, keep: 0.6}}"
    (root / "student.yaml").write_text(student)
    assert main(["prepare", "folder", str(root), str(root / "data"), "--size", "64x96"]) == 0
    return root


def test_a_folder_of_masks_goes_all_the_way(folder, capsys):
    assert main(["inspect", str(folder / "data"), "--verify", "--picture", str(folder / "sheet.png")]) == 0
    assert "drivable 5" in capsys.readouterr().out.replace("\n", " ")
    assert main(["run", str(folder / "student.yaml")]) == 0
    runs = folder / "runs/robot"
    result = json.loads((runs / "student/seed-0/result.json").read_text())
    metrics = result["metrics"]["masks"]
    assert result["pseudo_labels"] == {"masks": 8} and metrics["pixels"] == 4 * 64 * 96
    assert metrics["mask_iou"] > 0.5 and metrics["average_precision"] > 0.6, metrics
    labels = Manifest.load(runs / "teacher/seed-0/labels/train", kind="labels")
    arrays = Readers(labels, "train")[0].decode(0)
    assert set(arrays) == {"masks", "masks.conf"} and arrays["masks"].dtype == np.int16
    kept = json.loads((runs / "teacher/seed-0/labels/train/kept.json").read_text())["masks"]
    assert 0 < kept["kept"] < 1 and kept["kept_by_class"] == {}
    assert main(["table", str(runs)]) == 0
    assert "mask IoU" in capsys.readouterr().out
    assert main(["report", str(runs), "--out", str(folder / "report.html")]) == 0
    page = (folder / "report.html").read_text()
    assert "graspable" in page and "mask IoU" in page
    last = runs / "student/seed-0/checkpoints/last"
    assert main(["predict", str(last), str(folder / "rgb"), "--out", str(folder / "said")]) == 0
    predictor = Predictor(last)
    rgb = np.asarray(Image.open(folder / "rgb/16.png"))
    prediction = predictor.predict({"rgb": rgb})
    assert prediction["masks"].shape == (64, 96) and prediction["masks.confidence"].min() >= 0.5
    declaration = {"ignore": 255}
    stored = TASK.storage.read_file(next((folder / "said/masks").glob("16*.png")), declaration)
    assert np.array_equal(stored, prediction["masks"])
    network, _ = checkpoint.load_exported(last)
    assert network.architecture.tasks[0].kind == "binary"


def test_masks_can_be_an_input():
    from trainer.kinds.binary import BinaryEncoder

    encoder = BinaryEncoder(3, validity=True)
    encoded = encoder(torch.tensor([[[0, 1], [4, 8]]], dtype=torch.int16))
    assert encoded.shape == (1, 4, 32, 32) and encoded[0, :, 1, 1].tolist() == [1, 1, 1, 1]
    assert encoded[0, :, 0, 1].tolist() == [0, 0, 0, 1] and encoded[0, :, 1, 0].tolist() == [1, 1, 0, 1]
    assert not encoded[0, :, 0, 0].any()


def test_a_users_array_of_masks_is_taken_as_it_is():
    label = random_label(np.random.default_rng(4))
    assert learning(TASK).checked("masks", label) is label
    with pytest.raises(UserError, match="masks: is float64, not int16"):
        learning(TASK).checked("masks", label.astype(np.float64))


def test_colours_that_are_none_are_told():
    with pytest.raises(UserError, match=r"colours is not a list of \[r, g, b\] in 0\.\.255"):
        TASK.storage.declared({"masks": list(MASKS), "colours": ["red", "green", "blue"]})
