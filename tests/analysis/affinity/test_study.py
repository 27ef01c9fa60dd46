"""Known affinities are measured: of tasks that do not depend on RGB, and follow from each other or not."""

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import Tiny

from analysis.affinity import study as module
from analysis.affinity.study import measure
from analysis.affinity.words import caveats
from shards.errors import UserError
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.base import Frame
from shards.tasks import Task, palette
from trainer.affinity import Affinity, Effect
from trainer.experiment import Experiment
from trainer.runs.result import Result

pytestmark = pytest.mark.slow

SIZE, BLOCK = (32, 64), 16


def classes(name: str, *names: str) -> Task:
    return Task(name, "classes", names, palette(len(names)))


TASKS = {
    # one of three levels in every block, independent of the image
    "level": Task("level", "scalar", scale=0.001, unit="m"),
    # whether it is the middle level: follows from the level, and does not shift its mean
    "middle": classes("middle", "no", "yes"),
    # independent of every other task
    "chance": classes("chance", "heads", "tails"),
    # the level reversed: each follows from the other
    "mirror": Task("mirror", "scalar", scale=0.001, unit="m"),
    # the level as a class, random in every third block
    "noisy": classes("noisy", "low", "medium", "high"),
}


@dataclass(frozen=True)
class MadeUp:
    """Frames of noise with labels of blocks."""

    names: tuple[str, ...]
    train: int = 36
    val: int = 12
    name: str = "madeup"

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(TASKS[name] for name in self.names)

    @property
    def options(self) -> dict[str, Any]:
        return {"names": list(self.names)}

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        return {split: [f"{split}-{i:03d}" for i in range(getattr(self, split))] for split in ("train", "val")}

    def load(self, split: str, position: int) -> Frame:
        random = np.random.default_rng([len(split), position])

        def blocks(count: int) -> np.ndarray:
            values = random.integers(0, count, (SIZE[0] // BLOCK, SIZE[1] // BLOCK))
            return np.kron(values, np.ones((BLOCK, BLOCK), int))

        level = blocks(3)
        labels = {
            "level": (1 + level).astype(np.float32),
            "middle": (level == 1).astype(np.uint8),
            "chance": blocks(2).astype(np.uint8),
            "mirror": (3 - level).astype(np.float32),
            "noisy": np.where(blocks(3) == 0, blocks(3), level).astype(np.uint8),
        }
        rgb = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        return Frame(rgb, {name: labels[name] for name in self.names}, {})


def configure(folder: Path, names: tuple[str, ...], **labels: int) -> Path:
    """Pack a data set of these tasks, and return the path of its configuration."""
    pack(MadeUp(names), folder / "data", samples_per_shard=8)
    path = folder / "madeup.yaml"
    path.write_text(f"""
        data: {{name: madeup, path: {folder / "data"}, num_workers: 0}}
        tasks: [{", ".join(names)}]
        labels: {{{", ".join(f"{task}: {count}" for task, count in labels.items())}}}
        dev: 12
        model: {{backbone: test_efficientnet, decoder: heads, widths: [8, 8, 16, 16]}}
        augment: {{zoom: [1.0], jitter: 0.0}}
        train: {{global_batch_size: 4, steps: 40, lr: 1.0e-2, schedule: cosine}}
        run: {{root: {folder / "runs"}}}
    """)
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Path, Path, Affinity]:
    """Configuration, folder and affinity of a task, a function of it, and one unrelated, over four seeds."""
    names = ("level", "middle", "chance")
    path = configure(tmp_path_factory.mktemp("measured"), names, middle=16, chance=16)
    folder, affinity = measure(path, seeds=4)
    return path, folder, affinity


def gains(affinity: Affinity) -> dict[tuple[str, str], Effect]:
    return {(effect.source, effect.target): effect for effect in affinity.gains}


def test_a_task_helps_its_function_and_not_the_reverse(measured):
    _, _, affinity = measured
    effects = gains(affinity)
    assert effects["level", "middle"].helps is True and effects["level", "middle"].relative.low > 0.2
    assert effects["middle", "level"].helps is not True
    verdict = next(entry for entry in affinity.verdicts if {entry.one, entry.other} == {"level", "middle"})
    assert verdict.condition in ("one way", "undetermined") and "level helps middle" in verdict.words
    assert all(entry.p is not None and entry.p >= 0 for entry in affinity.gains) and affinity.looks == []


def test_what_is_unrelated_helps_nothing(measured):
    _, _, affinity = measured
    chance = {pair: effect for pair, effect in gains(affinity).items() if "chance" in pair}
    assert len(chance) == 4 and not any(effect.helps for effect in chance.values())


def test_the_known_helper_is_recommended_and_nothing_else(measured):
    _, _, affinity = measured
    inputs = {task: entry.inputs for task, entry in affinity.recommended.items()}
    assert inputs == {"level": None, "middle": ["rgb", "level"], "chance": None}
    assert affinity.recommended["level"].why == "no frame lacks it and shows another task"
    assert "8 frames show level alone" in affinity.recommended["middle"].why


def test_all_networks_saw_the_same_frames_as_often(measured):
    """According to their own results: T + 1 networks per seed, which differ in their inputs alone."""
    _, folder, affinity = measured
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*/seed-*/result.json"))]
    assert sorted(folder.glob("*/seed-*")) == sorted(
        folder / name / f"seed-{seed}" for name in ("rgb", "rgb-level", "rgb-middle", "rgb-chance") for seed in range(4)
    )
    facts = {key: {json.dumps(row[key]) for row in rows} for key in ("frames", "steps", "samples_seen", "tasks")}
    assert facts == {"frames": {"16"}, "steps": {"40"}, "samples_seen": {"160"}, "tasks": {json.dumps(list(TASKS)[:3])}}
    assert affinity.samples == 16 and affinity.samples_seen == 160 and affinity.validation_frames == 12
    assert affinity.split == "dev" and {row["asked"]["split"] for row in rows} == {"dev"}
    assert all({row["labels"][task] for task in row["labels"]} == {16} for row in rows)


def test_figures_are_those_of_the_runs(measured):
    _, folder, affinity = measured
    assert json.loads((folder / "affinity.json").read_text()) == json.loads(json.dumps(affinity.to_json()))

    def mean(name: str, task: str, metric: str) -> float:
        rows = [json.loads((folder / name / f"seed-{seed}/result.json").read_text()) for seed in range(4)]
        return float(np.mean([row["metrics"][task][metric] for row in rows]))

    means = {pair: effect.absolute.mean for pair, effect in gains(affinity).items()}
    miou_gain = mean("rgb-level", "middle", "miou") - mean("rgb", "middle", "miou")
    rmse_gain = mean("rgb", "level", "rmse") - mean("rgb-middle", "level", "rmse")
    assert (means["level", "middle"], means["middle", "level"]) == (pytest.approx(miou_gain), pytest.approx(rmse_gain))
    assert affinity.tasks["level"].better == "lower" and affinity.tasks["middle"].better == "higher"


def test_other_settings_are_refused_with_what_helps_here(measured):
    path, folder, _ = measured
    with pytest.raises(UserError, match=r"labels\.chance: holds a run with 16, not 5; give another folder \(--out\)"):
        measure(path, samples=5)
    assert json.loads((folder / "affinity.json").read_text())["samples"] == 16


def test_a_second_call_trains_nothing(measured, monkeypatch):
    path, _, affinity = measured
    for name in ("trainer.trainstage.Trainer", "trainer.evaluatestage.evaluate_network"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("a finished network was built again"))
    assert measure(path, seeds=4)[1] == affinity


def test_another_number_of_seeds_is_another_look(measured, monkeypatch, tmp_path):
    """Users who add seeds until a verdict appears are told that it is less certain."""
    path, folder, affinity = measured
    monkeypatch.setattr(module, "run", lambda experiment: Result.read(experiment.folder / "result.json"))
    copy = tmp_path / "again"
    shutil.copytree(folder, copy)
    _, fewer = measure(path, seeds=2, out=copy)
    assert fewer.looks == [4] and "evaluated with 4 seeds before" in "".join(caveats(fewer))
    assert "fix the number of seeds before you look" in "".join(caveats(affinity))
    assert "looked at" not in "".join(caveats(affinity))


def test_auto_follows_what_was_found(measured):
    path, folder, _ = measured
    student = Experiment(path, ["pseudo=auto"])
    assert student.config.affinity == str(folder / "affinity.json")
    teachers = student.teachers
    assert [list(teacher.config.inputs) for teacher in teachers.values()] == [["rgb", "level"]] and [*teachers] == [
        "middle"
    ]
    _, mask = teachers["middle"].frames_to_label()
    assert mask.sum() == 8


# What is refused


@pytest.fixture
def config(tmp_path) -> Path:
    return configure(tmp_path, ("level", "middle"), middle=16)


def test_refusals(config, monkeypatch):
    monkeypatch.setattr(module, "run", lambda experiment: pytest.fail("it was trained first"))
    with pytest.raises(UserError, match=r"madeup\.yaml: tasks: names level alone; give two or more"):
        measure(config, ["tasks=[level]"])
    with pytest.raises(UserError, match="--seeds: 0 seeds; give 1 or more"):
        measure(config, seeds=0)
    with pytest.raises(UserError, match="--samples: 0 frames; give 1 or more"):
        measure(config, samples=0)
    with pytest.raises(UserError, match=r"labels\.level: 99 frames, where 24 carry the label besides the 12 set aside"):
        measure(config, samples=99)
    with pytest.raises(UserError, match=r"evaluate\.split: networks are measured on dev frames; pass --split val if"):
        measure(config, ["evaluate.split=val"])
    with pytest.raises(UserError, match="no training frame shows all of level, middle; give fewer tasks"):
        measure(config, ["labels.middle=0"])


def test_frames_that_lack_a_label_are_not_trained_on(tiny_dataset, configs, monkeypatch, tmp_path):
    """8 of 12 frames carry semseg, 9 depth, 6 both, of which one judges."""
    experiments = []
    monkeypatch.setattr(module, "run", experiments.append)
    overrides = [f"data.path={tiny_dataset.folder}", f"run.root={tmp_path}"]
    overrides += ["labels.semseg=null", "labels.depth=null"]
    with pytest.raises(UserError, match=r"--samples: 5 of 6 train frames show all of semseg, depth; give fewer"):
        measure(configs / "plain.yaml", overrides, samples=6)
    for split, trained, judging in (("dev", 5, 1), ("val", 6, 3)):
        experiments.clear()
        with pytest.raises(AttributeError):  # nothing was run, so there is nothing to read
            measure(configs / "plain.yaml", overrides, seeds=1, out=tmp_path / f"it's {split}", split=split)
        assert len(experiments) == 3 and {experiment.folder.parents[1].name for experiment in experiments} == {
            f"it's {split}"
        }
        for experiment in experiments:
            frames, judges = experiment.training_frames(), experiment.evaluation_frames
            mask = frames.to_train(experiment.config.inputs, experiment.config.tasks)
            assert (
                mask.sum() == trained and frames.visible["semseg"][mask].all() and frames.visible["depth"][mask].all()
            )
            assert judges.chosen.sum() == judging, "of five to validate on, three carry both"
            assert judges.split == {"dev": "train", "val": "val"}[split]
            assert split == "val" or not (judges.chosen & mask).any()


def test_frames_that_judge_are_set_aside_unless_there_are_too_few(configs, tiny_dataset, scenes_dataset, tmp_path):
    """By default a fifth of those with all labels; another number only on request."""

    def judging(dataset: Manifest, *overrides: str) -> int:
        experiment = Experiment(
            configs / "plain.yaml", [f"data.path={dataset.folder}", f"run.root={tmp_path}", *overrides]
        )
        return module.Study(experiment, tmp_path, None).dev

    full_budget = Experiment(configs / "plain.yaml", [f"run.root={tmp_path}", "labels.semseg=24", "labels.depth=24"])
    assert module.Study(full_budget, tmp_path, None).samples == 20, "a budget of all frames leaves room for those"
    all_labels = ("labels.semseg=null", "labels.depth=null")
    assert (judging(scenes_dataset), judging(scenes_dataset, "dev=7"), judging(tiny_dataset, *all_labels)) == (4, 7, 1)
    small = pack(Tiny(train=7), tmp_path / "lone", samples_per_shard=3)
    with pytest.raises(UserError, match="dev: 4 training frames carry every label: too few to set some aside"):
        judging(small, *all_labels)


@pytest.mark.long
def test_every_known_affinity_of_five_tasks(tmp_path):
    """Two tasks that follow from each other help each other, and more with less noise between them."""
    path = configure(tmp_path, tuple(TASKS), middle=16, chance=16, mirror=16, noisy=16)
    _, affinity = measure(path, ["train.steps=60"], seeds=5)
    effects = gains(affinity)
    for source, target in (("level", "mirror"), ("mirror", "level"), ("level", "noisy"), ("noisy", "level")):
        assert effects[source, target].helps is True, (source, target)
    assert effects["noisy", "level"].relative.mean < effects["mirror", "level"].relative.mean
    assert effects["mirror", "middle"].helps is True and effects["middle", "mirror"].helps is not True
    assert not any(entry.helps for pair, entry in effects.items() if "chance" in pair)
    verdicts = {(entry.one, entry.other): entry for entry in affinity.verdicts}
    assert verdicts["level", "mirror"].condition == "1"
    assert verdicts["level", "mirror"].words == "level and mirror help each other"
