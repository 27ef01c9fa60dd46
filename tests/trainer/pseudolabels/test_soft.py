"""Soft labels from the teacher's pass to the student's loss, and which pseudo-labels a student uses."""

import json

import numpy as np
import pytest
import torch
from framekeys import keys_of

import tutelage as tt
from shards.errors import UserError
from shards.inspect import verify
from shards.labels import Keep, LabelShards
from shards.manifest import Manifest
from shards.read import Readers
from shards.soft import STEPS
from shards.stream import Batches
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.averaging import mirror_inputs, predict_with_flip
from trainer.experiment import Experiment
from trainer.losses import MultiTaskLoss
from trainer.pseudolabels.stage import label
from trainer.runs import checkpoint
from trainer.stages import run
from trainer.trainingdata import TrainingData, frames_of_share


@pytest.fixture
def task(scenes_dataset):
    return scenes_dataset.task("semseg")


def first_of(labels: LabelShards) -> tuple[int, str]:
    return next((shard, key) for shard in range(3) for key in sorted(labels.keys(shard)))


def teacher_logits(teacher: Experiment, dataset: Manifest, shard: int, key: str) -> torch.Tensor:
    """Return the teacher's logits for a frame, ``(C, H, W)``."""
    network, _ = checkpoint.load_exported(teacher.checkpoints / "last")
    reader = Readers(dataset, "train")[shard]
    tensors = to_tensors(reader.decode(reader.positions[key]), dataset.tasks)
    with torch.no_grad():
        inputs = {"rgb": tensors["rgb"][None] / 255, "depth": tensors["depth"][None]}
        return network.eval()(inputs).final["semseg"][0]


@pytest.mark.parametrize(("kept", "scale"), [(4, 2), (2, 1), (100, 3)])
def test_stored_distributions_are_the_teachers(finished, scenes_dataset, task, kept, scale):
    teacher = finished("teacher", f"label.soft={kept}", f"label.soft_scale={scale}")
    label(teacher)
    manifest = Manifest.load(teacher.labels, kind="labels")
    classes = min(kept, len(task.classes))
    assert manifest.source["soft"] == {"semseg": {"classes": classes, "scale": scale}}
    assert verify(manifest) == 8
    labels = LabelShards(teacher.labels, scenes_dataset, "train", task, Keep(soft=True))
    shard, key = first_of(labels)
    soft = labels.read_arrays(shard, key)["semseg.soft"]
    assert soft.shape == (-(-32 // scale), -(-64 // scale), 2 * classes) and labels.planes["semseg.soft"] == 2 * classes
    probabilities = teacher_logits(teacher, scenes_dataset, shard, key).softmax(0)
    cells = torch.nn.functional.interpolate(probabilities[None], soft.shape[:2], mode="area")[0].permute(1, 2, 0)
    expected = cells.gather(-1, torch.from_numpy(soft[..., :classes].astype(np.int64))).numpy()
    assert np.abs(soft[..., classes:] / STEPS - expected).max() < 1.01 / STEPS + 1e-4
    smallest = np.sort(cells.numpy(), -1)[..., -classes]
    assert (expected.min(-1) >= smallest - 1e-4).all(), "the most probable classes are stored"


def test_without_soft_labels_none_are_stored_and_asking_for_them_says_what_to_do(finished, scenes_dataset, task):
    teacher = finished("teacher", "label.soft=0")
    label(teacher)
    with pytest.raises(UserError, match=r"holds no soft labels of semseg; delete it and label again"):
        LabelShards(teacher.labels, scenes_dataset, "train", task, Keep(soft=True))


def pseudo_label_keys(frames) -> set[str]:
    """Return the keys of the frames with a pseudo-label of segmentation."""
    return set(keys_of(frames, frames.pseudo["semseg"]))


def batches_of(experiment: Experiment, steps: int) -> list:
    frames = experiment.training_frames()
    config = experiment.config
    return list(TrainingData.of(config, frames).batches(Batches(config.train.global_batch_size), 0, steps))


def test_a_batch_holds_soft_labels_of_a_teachers_frames_alone_augmented_like_them(finished):
    student = finished("student", "pseudo.semseg.target=soft", "pseudo.semseg.keep=all", "augment.zoom=[1.0]")
    frames = student.training_frames()
    pseudo_keys = pseudo_label_keys(frames)
    count = 0
    for batch in batches_of(student, 4):
        soft = batch.labels["semseg.soft"]
        assert soft.shape == (4, 8, 32, 64)
        for row, key in enumerate(batch.keys):
            steps = soft[row, 4:].sum(0, dtype=torch.int64)
            assert bool((steps > 0).all()) == (key in pseudo_keys) == bool(steps.any())
            if key in pseudo_keys:  # flipped or not, as the hard label is
                count += 1
                agreement = (soft[row, 0] == batch.labels["semseg"][row]).float().mean()
                assert agreement > 0.8, "the most probable class of a cell is that of most of its pixels"
    assert count


def test_the_student_learns_what_soft_labels_store(finished, task):
    student = finished("student", "pseudo.semseg.target=soft", "pseudo.semseg.keep=all")
    batch, criterion = batches_of(student, 1)[0], MultiTaskLoss(student.tasks)
    logits = torch.randn(4, len(task.classes), 32, 64, generator=torch.Generator().manual_seed(0))
    predictions = {"semseg": logits, "depth": torch.zeros(4, 1, 32, 64)}
    total = torch.zeros(())
    for row in range(4):
        log_p = logits[row].log_softmax(0).double()
        soft, hard = batch.labels["semseg.soft"][row].permute(1, 2, 0).numpy(), batch.labels["semseg"][row]
        if soft[..., 4:].any():
            named, steps = (torch.from_numpy(part).permute(2, 0, 1) for part in np.split(soft, 2, -1))
            known = log_p.gather(0, named.long())
            others = torch.log1p(-known.exp().sum(0))
            total = total - (steps / STEPS * known).sum() - ((STEPS - steps.sum(0)) / STEPS * others).sum()
        else:
            total = total - log_p.gather(0, hard.long()[None]).sum()
    terms = type("Terms", (), {"final": predictions, "initial": []})
    loss = criterion.terms(terms, batch.labels, criterion.counts(batch.labels))[0]
    assert loss.item() == pytest.approx(float(total) / (4 * 32 * 64), rel=1e-5)


def test_a_quantile_keeps_the_most_confident_pixels_of_every_class(finished, scenes_dataset, task):
    teacher = finished("teacher")
    unfiltered = LabelShards(teacher.labels, scenes_dataset, "train", task, None)
    filtered = LabelShards(teacher.labels, scenes_dataset, "train", task, Keep(quantile=0.5))
    results = [
        (unfiltered.read_unfiltered(n, key), filtered.read(n, key)) for n in range(3) for key in unfiltered.keys(n)
    ]
    label, confidence = (np.stack([pair[i] for pair, _ in results]) for i in (0, 1))
    kept = np.stack([kept for _, kept in results]) != 255
    for number in np.unique(label):
        in_class = label == number
        share = kept[in_class].mean()
        last_share = (np.ceil(confidence[in_class] * 100) == np.ceil(confidence[in_class & kept].min() * 100)).mean()
        assert 0.5 <= share <= 0.5 + last_share + 1e-9
        if (in_class & ~kept).any():
            assert confidence[in_class & kept].min() > confidence[in_class & ~kept].max()


def test_weights_are_the_confidence_and_ground_truth_weighs_fully(finished):
    student = finished("student", "pseudo.semseg.weight=confidence", "pseudo.semseg.keep=all")
    frames = student.training_frames()
    pseudo_keys = pseudo_label_keys(frames)
    criterion = MultiTaskLoss(student.tasks)
    for batch in batches_of(student, 3):
        weight = batch.labels["semseg.weight"]
        for row, key in enumerate(batch.keys):
            assert (weight[row] == 255).all() or key in pseudo_keys
            assert key not in pseudo_keys or (weight[row] < 255).any()
        assert criterion.counts(batch.labels)[0] == weight[:, 0][batch.labels["semseg"] != 255].sum(dtype=torch.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_batch_holds_its_share_of_pseudo_labels(finished, workers):
    student = finished("student", "train.pseudo_share=0.25", f"data.num_workers={workers}")
    frames = student.training_frames()
    pseudo_keys = pseudo_label_keys(frames)
    assert [sum(key in pseudo_keys for key in batch.keys) for batch in batches_of(student, 8)] == [1] * 8
    order, indices = TrainingData.of(student.config, frames).order(student.config.train.global_batch_size)
    assert order.samples == 16 and sorted(np.concatenate(indices).tolist()) == list(range(16))


def test_a_share_of_pseudo_labels_is_an_option_of_a_trainer_too(finished, scenes_dataset, task, tmp_path):
    teacher = finished("teacher")
    pseudo = {"semseg": tt.PseudoLabels(teacher.labels, keep=0.4)}
    data = tt.ShardDataset(scenes_dataset.folder, "train", labels={"semseg": 8, "depth": 16}, pseudo=pseudo)
    model = tt.create_model("mtinet", backbone="test_efficientnet", inputs=["rgb"], tasks=[task])
    parts = (model, tt.MultiTaskLoss([task]))
    options = {"global_batch_size": 4, "steps": 1, "pseudo_share": 0.25}
    trainer = tt.Trainer(*parts, data, out=tmp_path / "run", **options)
    batches = trainer.data.batches(Batches(4), 0, 8)
    pseudo_keys = pseudo_label_keys(data.frames)
    assert [sum(key in pseudo_keys for key in batch.keys) for batch in batches] == [1] * 8
    whole = tt.TrainingData(data, ["rgb"], ["semseg"])
    with pytest.raises(UserError, match=r"pseudo_share: is 0\.25, where the data have None; give it to the data"):
        tt.Trainer(*parts, whole, out=tmp_path / "other", **options)


def test_a_share_that_a_batch_cannot_have_says_so(finished):
    student = finished("student", "train.pseudo_share=0.1")
    data = TrainingData.of(student.config, student.training_frames())
    with pytest.raises(UserError, match=r"pseudo_share: 0\.1 of a batch of 4 would be 0 frames; give a larger batch"):
        data.order(4)


@pytest.mark.parametrize(
    ("share", "plain", "pseudo", "outcome"),
    [
        (0.5, 9, 9, 2),
        (0, 9, 0, 0),
        (1, 0, 9, 4),
        (0.5, 0, 9, "all 9 frames have pseudo-labels; leave it out"),
        (0, 0, 9, "all 9 frames have pseudo-labels"),
        (0.5, 9, 0, "none of 9 frames has one; leave it out"),
        (1, 9, 0, "none of 9 frames has one"),
    ],
)
def test_a_share_needs_frames_of_each_kind_that_a_batch_has(share, plain, pseudo, outcome):
    if isinstance(outcome, int):
        assert frames_of_share(share, 4, plain, pseudo) == outcome
    else:
        with pytest.raises(UserError, match=f"pseudo_share: {outcome}"):
            frames_of_share(share, 4, plain, pseudo)


def test_a_share_of_pseudo_labels_changes_nothing_for_who_has_none(make):
    keys = [
        [batch.keys for batch in batches_of(make("teacher", *overrides), 2)]
        for overrides in ((), ("train.pseudo_share=0.5",))
    ]
    assert keys[0] == keys[1]


def test_a_soft_student_trains_to_its_result(make):
    student = make("student", "pseudo.semseg.target=soft", "pseudo.semseg.keep=all", "label.flip=true")
    run(student)
    assert (student.folder / "result.json").exists()
    manifest = Manifest.load(student.teacher("semseg").labels, kind="labels")
    assert manifest.source["teacher"]["config"]["label"]["flip"] is True


def test_labels_are_the_mean_of_a_frame_and_its_mirror_image(scenes_dataset, task):
    """For a network that treats a frame and its mirror image differently."""
    semseg, depth = task, scenes_dataset.task("depth")
    ramp = torch.linspace(0.5, 2, 8)

    def network(inputs):
        x = inputs["rgb"].mean(1, keepdim=True) * ramp
        return {"semseg": x * torch.arange(len(semseg.classes))[:, None, None], "depth": x - 0.2, "ignored": x}

    rgb = torch.rand(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    outputs, agreement = predict_with_flip(network, {"rgb": rgb}, [semseg, depth])
    plain, mirrored = network({"rgb": rgb}), network({"rgb": rgb.flip(-1)})
    mean = (plain["semseg"].softmax(1) + mirrored["semseg"].flip(-1).softmax(1)) / 2
    torch.testing.assert_close(outputs["semseg"].softmax(1), mean)
    a, b = plain["depth"], mirrored["depth"].flip(-1)
    torch.testing.assert_close(outputs["depth"], (a + b) / 2)
    expected = (torch.minimum(a, b) / torch.maximum(a, b)).clamp(min=0)[:, 0]
    torch.testing.assert_close(agreement["depth"], expected.where(torch.maximum(a, b)[:, 0] > 0, 0))
    assert set(agreement) == {"depth"}
    swapped, _ = predict_with_flip(network, {"rgb": rgb.flip(-1)}, [semseg, depth])
    torch.testing.assert_close(swapped["semseg"].softmax(1), mean.flip(-1))


def test_a_mirror_turns_directions_around():
    vectors = torch.tensor([0.6, 0.0, 0.8])[None, :, None, None].expand(1, 3, 2, 2).clone()
    vectors[..., 0] = torch.tensor([0.0, 1.0, 0.0])[None, :, None]
    turned = mirror_inputs({"normals": vectors, "rgb": vectors}, [Task("normals", "unit_vector")])
    torch.testing.assert_close(turned["normals"][0, :, 0, 0], torch.tensor([-0.6, 0.0, 0.8]))
    torch.testing.assert_close(turned["normals"][0, :, 0, 1], torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(turned["rgb"][0, :, 0, 0], torch.tensor([0.6, 0.0, 0.8]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["label.soft=0", "pseudo.semseg.target=soft"],
            r"pseudo\.semseg\.target: no soft labels: the teacher stores none",
        ),
        (
            ["pseudo.depth.teacher=DEPTH", "pseudo.depth.target=soft"],
            r"pseudo\.depth\.target: no soft labels: depth is not",
        ),
        (
            ["pseudo.depth.teacher=DEPTH", "pseudo.depth.keep=all", "pseudo.depth.weight=confidence"],
            r"pseudo\.depth\.weight: depth has no confidence; set pseudo\.depth\.weight=none, or label\.flip=true",
        ),
    ],
)
def test_what_a_teacher_will_not_say_is_refused_before_it_is_trained(make, configs, tmp_path, overrides, message):
    base = f"inherits: {configs / 'base.yaml'}\nlabels: {{semseg: 16, depth: 8}}\ninputs: [rgb, semseg]\n"
    (tmp_path / "depth.yaml").write_text(base)
    student = make("student", *(override.replace("DEPTH", str(tmp_path / "depth.yaml")) for override in overrides))
    with pytest.raises(UserError, match=message):
        run(student)
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))


def test_labels_of_before_there_were_soft_ones_are_still_good(finished):
    teacher = finished("teacher")
    note = teacher.labels / ".label.json"
    content = json.loads(note.read_text())
    del content["job"]["soft"]
    note.write_text(json.dumps(content))
    before = (teacher.labels / "MANIFEST.json").stat().st_mtime_ns
    label(teacher)
    assert (teacher.labels / "MANIFEST.json").stat().st_mtime_ns == before
