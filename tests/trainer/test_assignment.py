"""Assignments: which of its labels each training frame shows, before any budget."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from analysis.results.groups import read_result
from shards.assignment import ONE, RANDOM, assign_by_rule
from shards.errors import UserError
from shards.frames import Frames
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from trainer.runs.result import Result
from trainer.setting import decisive, setting
from trainer.stages import check, run
from trainer.trainstage import train

TASKS = ("semseg", "depth", "normals")
ALL = ("labels.semseg=null", "labels.depth=null")


@pytest.fixture(scope="module")
def three_tasks(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """12 training frames in 2 shards with three labels each."""
    source = WithNormals(Scenes(12, 2, (32, 64)))
    return pack(source, tmp_path_factory.mktemp("three"), size=(32, 64), samples_per_shard=8)


def shown(frames: Frames) -> np.ndarray:
    """Return which task's label each frame shows, bool ``(count, T)``."""
    return np.stack(list(frames.visible.values()), axis=1)


def counts(frames: Frames) -> list[int]:
    return shown(frames).sum(0).tolist()


# The rules


@pytest.mark.parametrize("seed", range(5))
def test_one_shows_each_frame_with_one_label_and_each_task_as_often(three_tasks, seed):
    frames = Frames(three_tasks, "train", seed=seed, assignment="one")
    assert (shown(frames).sum(1) == 1).all()
    assert counts(frames) == [4, 4, 4]


@pytest.mark.parametrize("seed", range(5))
def test_random_shows_each_frame_with_some_labels_and_never_all(three_tasks, seed):
    frames = Frames(three_tasks, "train", seed=seed, assignment="random")
    label_counts = shown(frames).sum(1)
    assert set(label_counts.tolist()) == {1, 2}
    assert counts(frames) == [6, 6, 6]
    assert len({tuple(row) for row in shown(frames).tolist()}) == 6, "every part of three labels occurs"


def test_of_two_tasks_random_shows_one(scenes_dataset):
    frames = Frames(scenes_dataset, "train", seed=0, assignment="random")
    assert (shown(frames).sum(1) == 1).all() and counts(frames) == [12, 12]


@pytest.mark.parametrize("rule", [ONE, RANDOM])
def test_an_assignment_follows_from_the_seed_alone(three_tasks, rule):
    first, repeated, other = (Frames(three_tasks, "train", seed=seed, assignment=rule) for seed in (3, 3, 4))
    np.testing.assert_array_equal(shown(first), shown(repeated))
    assert (shown(first) != shown(other)).any()


def test_every_experiment_of_a_seed_sees_the_same_assignment(make):
    experiments = [
        make("plain", *ALL, "assignment=one", *overrides) for overrides in ([], ["tasks=[depth]"], ["train.lr=1"])
    ]
    for experiment in experiments[1:]:
        np.testing.assert_array_equal(shown(experiment.training_frames()), shown(experiments[0].training_frames()))


def test_nested_is_what_it_always_was(scenes_dataset):
    """The default assignment shows all labels; tests/trainer/test_frames.py tests its budgets."""
    plain = Frames(scenes_dataset, "train", seed=0, budgets={"semseg": 5})
    named = Frames(scenes_dataset, "train", seed=0, budgets={"semseg": 5}, assignment="nested")
    np.testing.assert_array_equal(shown(plain), shown(named))
    assert counts(plain) == [5, 24]


def test_frames_that_carry_few_labels_show_some_of_those():
    """Of 40 frames every fifth lacks semseg, every second depth and every third normals, and some lack all."""
    position = np.arange(40)
    carried = {"semseg": position % 5 != 0, "depth": position % 2 != 0, "normals": position % 3 != 0}
    for rule in (ONE, RANDOM):
        result = np.stack(list(assign_by_rule(rule, 0, carried, np.random.default_rng(0).permutation(40)).values()))
        carries = np.stack(list(carried.values()))
        assert not (result & ~carries).any()
        np.testing.assert_array_equal(result.any(0), carries.any(0))
        assert not result.all(0).any()
        alone = carries.sum(0) == 1
        assert alone.any()
        np.testing.assert_array_equal(result[:, alone], carries[:, alone])


# With budgets, dev frames and a smaller set


def test_a_budget_limits_what_an_assignment_shows(scenes_dataset):
    by_budget = [
        Frames(scenes_dataset, "train", seed=0, assignment="one", budgets={"semseg": n}).visible["semseg"]
        for n in range(1, 13)
    ]
    assert [int(mask.sum()) for mask in by_budget] == list(range(1, 13))
    for smaller, larger in pairwise(by_budget):
        assert not (smaller & ~larger).any()
    with pytest.raises(UserError, match=r"labels\.semseg: 13 frames, where 12 show the label by 'one'; set it to 12"):
        Frames(scenes_dataset, "train", seed=0, assignment="one", budgets={"semseg": 13})


def test_a_task_with_a_budget_of_nothing_takes_no_part(three_tasks):
    frames = Frames(three_tasks, "train", seed=0, assignment="one", budgets={"normals": 0})
    assert counts(frames) == [6, 6, 0]
    with pytest.raises(UserError, match=r"assignment: 'one' distributes labels.*only semseg takes part; set assign"):
        Frames(three_tasks, "train", seed=0, assignment="one", budgets={"normals": 0, "depth": 0})


def test_dev_frames_keep_their_labels_and_the_rest_stays_balanced(three_tasks):
    frames = Frames(three_tasks, "train", seed=0, assignment="one", dev=3)
    assert counts(frames) == [3, 3, 3]
    dev = Frames(three_tasks, "train", seed=0, dev=3, only="dev")
    assert counts(dev) == [3, 3, 3] and (shown(dev).sum(1)[dev.chosen] == 3).all()
    assert counts(Frames(three_tasks, "train", seed=0, assignment="one", only=6)) == [2, 2, 2]


# A file


def keys_of(manifest: Manifest) -> list[str]:
    indexes = [manifest.folder / shard.index_file for shard in manifest.shards("train")]
    return [sample["key"] for index in indexes for sample in json.loads(index.read_text())["samples"]]


def by_file(manifest: Manifest, path: Path, *lines: str, **options: object) -> Frames:
    path.write_text("\n".join(lines))
    return Frames(manifest, "train", seed=0, assignment=str(path), **options)  # type: ignore[arg-type]


def test_a_file_says_what_each_frame_shows(three_tasks, tmp_path):
    keys = keys_of(three_tasks)
    lines = ["# who labelled what", f"{keys[9]},semseg,normals", "", f"{keys[0]} depth  # late", f"{keys[3]}"]
    frames = by_file(three_tasks, tmp_path / "labels.csv", *lines)
    expected = np.zeros((12, 3), bool)
    order = [list(frames.visible).index(task) for task in TASKS]
    expected[9, [order[0], order[2]]] = expected[0, order[1]] = True
    np.testing.assert_array_equal(shown(frames), expected)
    with pytest.raises(UserError, match=r"labels\.depth: 2 frames, where 1 show the label by .*labels.csv"):
        by_file(three_tasks, tmp_path / "labels.csv", *lines, budgets={"depth": 2})


def test_a_file_that_excel_saved_is_read(three_tasks, tmp_path):
    """It begins with a byte order mark."""
    path = tmp_path / "labels.csv"
    path.write_text(f"{keys_of(three_tasks)[0]},depth\r\n", encoding="utf-8-sig")
    frames = Frames(three_tasks, "train", seed=0, assignment=str(path))
    assert frames.visible["depth"].tolist() == [True] + [False] * 11


def test_a_file_that_is_wrong_is_told_by_its_line(three_tasks, tmp_path):
    path, keys = tmp_path / "labels.csv", keys_of(three_tasks)
    misspelt = keys[0][:-1] + "x"
    for lines, message in {
        (
            f"{keys[1]},depth",
            f"{misspelt},depth",
        ): rf"labels\.csv: {misspelt}: line 2: is not the key .*; did you mean ",
        ("quite,depth",): r"quite: line 1: is not the key of a training frame; `tutelage inspect` shows",
        (f"{keys[0]},deep",): rf"{keys[0]}: line 1: 'deep' is not a task; use some of semseg, depth, normals",
        (f"{keys[0]},depth", "", f"{keys[0]},semseg"): r"line 3: is already in line 1; name all its tasks in one",
    }.items():
        with pytest.raises(UserError, match=message):
            by_file(three_tasks, path, *lines)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"labels\.csv: assignment: cannot be read"):
        Frames(three_tasks, "train", seed=0, assignment=str(path))
    with pytest.raises(UserError, match=r"onne: assignment: is not a rule, and no such file exists; use one of nested"):
        Frames(three_tasks, "train", seed=0, assignment="onne")


def test_a_file_cannot_show_a_label_that_is_not_there(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match=r"train-003: line 1: does not carry the label depth; leave depth out"):
        by_file(tiny_dataset, tmp_path / "labels.txt", "train-003,semseg,depth")


# Inputs and targets that never meet


def test_a_teacher_whose_frames_never_show_both_is_told_so(make):
    teacher = make("teacher", *ALL, "assignment=one")
    message = (
        r"teacher\.yaml: inputs: no train frame shows both the input depth and a label of semseg; set another "
        r"assignment than 'one', or leave labels out of the inputs: a teacher with inputs \[rgb\] needs no frame that "
        r"shows two"
    )
    for stage in (train, run, check):
        with pytest.raises(UserError, match=message):
            stage(teacher)
    with pytest.raises(UserError, match=message):
        check(make("student", *ALL, "assignment=one"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*ALL[:1], "labels.depth=0", "inputs=[rgb, depth]"],
            "no train frame shows the label depth, which is an input",
        ),
        (["labels.semseg=0", "tasks=[semseg]"], "no train frame shows a label of what is to be predicted, semseg"),
        (["labels.semseg=0", "inputs=[depth]"], "no train frame shows a label of what is to be predicted, semseg"),
        ([*ALL, "assignment=one", "inputs=[semseg, depth]"], "the inputs semseg and depth together"),
    ],
)
def test_what_keeps_frames_away_is_said(make, overrides, message):
    with pytest.raises(UserError, match=message):
        make("plain", *overrides).frames_to_train()


def test_the_affinity_of_tasks_that_no_frame_shows_together_is_told_so(make, tmp_path):
    from analysis.affinity.study import measure

    with pytest.raises(UserError, match=r"no training frame shows all of .*; set assignment=nested"):
        measure(make("plain").path, [*ALL, "assignment=one"], out=tmp_path, seeds=1)


# A run's setting


def test_an_assignment_is_part_of_a_runs_setting_and_result(make, scenes_dataset, tmp_path):
    lines = [f"{key},{('semseg', 'depth')[number % 2]}" for number, key in enumerate(keys_of(scenes_dataset))]
    file = tmp_path / "half.csv"
    file.write_text("\n".join(lines))
    overrides = [*ALL, "train.steps=1"]
    experiment = make("plain", *overrides, f"assignment={file}", "experiment=half")
    run(experiment)
    result = read_result(experiment.folder / "result.json")
    name, digest = result.assignment.split()
    assert name == "half.csv" and len(digest) == 8 and result.labels == {"semseg": 12, "depth": 12}
    assert setting(result)["assignment"] == result.assignment
    old = {key: value for key, value in result.to_json().items() if key != "assignment"}
    assert setting(Result.from_json(old))["assignment"] == "nested", "runs of before there were assignments"
    assert decisive({"assignment": str(file)}) == {"assignment": "half.csv"}

    file.write_text("\n".join(lines[:-1]))  # another assignment under the same name
    with pytest.raises(UserError, match=r"assignment: holds a run on other data than .*half\.csv holds now"):
        run(experiment)
    with pytest.raises(UserError, match=r"assignment: holds a run with 'half\.csv', not 'one'"):
        run(make("plain", *overrides, "assignment=one", "experiment=half"))
