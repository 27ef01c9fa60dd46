"""Logit adjustment: class frequencies of the visible labels, the loss by its equation, and which pixels it affects."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import SEMSEG

from shards.errors import UserError
from shards.tasks import IGNORE
from trainer.adjustment import class_frequencies, logit_offsets, soft_frequencies
from trainer.foreseen import check_pseudo
from trainer.losses import MultiTaskLoss, loss_sums
from trainer.trainstage import train


def test_frequencies_are_of_the_labels_within_the_budget(make):
    experiment = make("plain", "labels.semseg=5")
    frames, task = experiment.training_frames(), experiment.manifest.task("semseg")
    counts = np.zeros(task.channels)
    for row in np.flatnonzero(frames.visible["semseg"]):
        shard, position = divmod(int(row), 8)
        label = frames.readers[shard].decode(position)["semseg"]
        counts += np.bincount(label[label != IGNORE], minlength=task.channels)
    expected = (counts + 1e-3 * counts.sum() / task.channels) / (counts.sum() * 1.001)
    np.testing.assert_allclose(class_frequencies(frames, task), expected)
    assert class_frequencies(frames, task).min() > 0 and (counts == 0).any(), "an absent class has a logarithm too"
    assert not np.allclose(class_frequencies(frames, task, max_frames=2), expected, rtol=1e-3)
    offsets = logit_offsets(frames, experiment.tasks, 0.5)
    assert list(offsets) == ["semseg"]
    np.testing.assert_allclose(offsets["semseg"][0], 0.5 * np.log(expected), rtol=1e-5)
    assert not offsets["semseg"][1].any(), "soft labels are learnt by plain logits"
    assert logit_offsets(frames, experiment.tasks, 0) == {}


def test_soft_labels_are_counted_by_their_probabilities(finished):
    student = finished("student", "pseudo.semseg.target=soft", "pseudo.semseg.keep=all", "loss.soft_adjustment=0.25")
    frames, task = student.training_frames(), student.manifest.task("semseg")
    labels, counts = frames.label_shards["semseg"], np.zeros(task.channels)
    for shard in range(3):
        for key in labels.keys(shard):
            row = frames.starts[shard] + frames.readers[shard].positions[key]
            if frames.pseudo["semseg"][row]:
                soft = labels.read_arrays(shard, key)["semseg.soft"].astype(int)
                for named, steps in zip(*(part.reshape(-1, 4) for part in np.split(soft, 2, -1)), strict=True):
                    counts[named] += steps
    expected = (counts + 1e-3 * counts.sum() / task.channels) / (counts.sum() * 1.001)
    np.testing.assert_allclose(soft_frequencies(frames, task), expected)
    offsets = logit_offsets(frames, student.tasks, 0.5, 0.25)["semseg"].double().numpy()
    np.testing.assert_allclose(offsets[1], 0.25 * np.log(expected), rtol=1e-5)
    np.testing.assert_allclose(offsets[0] - offsets[1], 0.5 * np.log(class_frequencies(frames, task)), rtol=1e-4)


def test_an_adjustment_of_soft_labels_that_there_are_not_is_refused(make):
    with pytest.raises(
        UserError, match=r"loss\.soft_adjustment: no task has soft labels; set pseudo\.TASK\.target=soft"
    ):
        check_pseudo(make("student", "loss.soft_adjustment=0.5"))
    check_pseudo(make("student", "loss.soft_adjustment=0.5", "pseudo=null"))


def test_the_loss_sees_the_offsets_of_ground_truth_and_of_soft_labels():
    torch.manual_seed(0)
    classes = len(SEMSEG.classes)
    logits = torch.randn(2, classes, 4, 5)
    target = torch.randint(0, classes, (2, 4, 5), dtype=torch.uint8)
    target[0, 0, :2] = IGNORE
    offset, soft_offset = torch.linspace(-3, 0, classes), torch.linspace(1, -1, classes)
    offsets = {"semseg": torch.stack([offset, soft_offset])}
    expected = F.cross_entropy(logits + offset[:, None, None], target.long(), ignore_index=IGNORE, reduction="sum")
    targets = {"semseg": target}
    result = loss_sums({"semseg": logits}, targets, [SEMSEG], offsets)
    torch.testing.assert_close(result[0], expected)
    soft = torch.zeros(2, 4, 4, 5, dtype=torch.uint8)  # two classes and their steps
    soft[1, 1] = 1
    soft[1, 2], soft[1, 3] = 200, 55
    log_p = (logits[1] + soft_offset[:, None, None]).log_softmax(0)
    soft_loss = -(200 * log_p[0] + 55 * log_p[1]).sum() / 255
    hard = F.cross_entropy(logits[:1] + offset[:, None, None], target[:1].long(), ignore_index=IGNORE, reduction="sum")
    result = loss_sums({"semseg": logits}, targets | {"semseg.soft": soft}, [SEMSEG], offsets)
    torch.testing.assert_close(result[0], hard + soft_loss)


def test_an_adjusted_network_names_rare_classes_more_often():
    """From uninformative pixels the plain loss learns the class frequencies, and the adjusted loss no preference."""
    target = torch.zeros(1, 10, 10, dtype=torch.uint8)
    target[0, 0] = 1  # one in ten
    offset = torch.full((len(SEMSEG.classes),), -9.0)
    offset[:2] = torch.tensor([0.9, 0.1]).log()
    differences = {}
    for name, offsets in (("plain", {}), ("adjusted", {"semseg": offset.repeat(2, 1)})):
        bias = torch.zeros(len(SEMSEG.classes), requires_grad=True)
        loss = MultiTaskLoss([SEMSEG], offsets=offsets)
        optimizer = torch.optim.SGD([bias], 1.0)
        for _ in range(300):
            optimizer.zero_grad()
            logits = bias[None, :, None, None].expand(1, -1, 10, 10)
            sums = loss_sums({"semseg": logits}, {"semseg": target}, [SEMSEG], loss.offsets)
            (sums[0] / 100).backward()
            optimizer.step()
        differences[name] = (bias[0] - bias[1]).item()
    assert differences["plain"] == pytest.approx(np.log(9), abs=0.1)
    assert differences["adjusted"] == pytest.approx(0, abs=0.1)


def test_a_run_trains_with_it(make):
    run = make("plain", "loss.logit_adjustment=0.5", "train.steps=2")
    train(run)
    with pytest.raises(UserError, match=r"loss\.logit_adjustment: -1\.0 is less than 0"):
        make("plain", "loss.logit_adjustment=-1")


def test_a_soft_student_and_its_teacher_must_agree(make):
    soft = ("pseudo.semseg.target=soft", "pseudo.semseg.keep=all")
    with pytest.raises(UserError, match=r"loss\.logit_adjustment: 0\.5, and 0 in .*teacher\.yaml"):
        check_pseudo(make("student", *soft, "loss.logit_adjustment=0.5"))
    check_pseudo(make("student", *soft))
    check_pseudo(make("student", "loss.logit_adjustment=0.5"))
