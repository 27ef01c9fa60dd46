"""Configuration files: every shipped one parses, every promised name is there, and every mistake is named."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from omegaconf.errors import ReadonlyConfigError

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import documentation
from trainer.configfile import load, shared_overrides, teacher_call, to_dict, to_yaml
from trainer.parsing import parse_size
from trainer.renamed import RENAMED

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "engine")  # those are accelerate's
DATA = "data: {path: d}\n"


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def error_of(path: Path, *overrides: str) -> str:
    """Return the message of the error that loading raises, which is one line."""
    with pytest.raises(UserError) as error:
        load(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


# Shipped configurations and promised names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_configuration_parses(path):
    config = load(path)
    assert config.experiment == path.stem
    assert config.run.path == f"runs/{config.data.name}/{path.stem}/seed-0"
    for task in config.pseudo:
        teacher = load(*teacher_call(config, task, []))
        assert task in teacher.tasks and task not in teacher.inputs
        assert teacher.labels.get(task) == config.labels.get(task), "another budget than its student's"
        assert teacher.frames == config.frames
        if path.parent.name not in ("nyudv2-recipe", "scenes-labels"):  # where a student may learn for longer
            assert teacher.train.steps == config.train.steps


def test_there_are_configurations_for_every_engine_of_the_readme():
    assert {path.parent.name for path in SHIPPED} >= {"scenes", "nyudv2", "cityscapes", "folder"}


def test_nyudv2_configurations_hold_the_papers_budgets():
    budgets = {path.stem: dict(load(path).labels) for path in SHIPPED if path.parent.name == "nyudv2"}
    assert budgets["ummt-d"] == budgets["mmmt-d"] == budgets["ummt-ps"] == {"semseg": 250, "depth": 500}
    assert budgets["ummt"] == {"semseg": 250, "depth": 250}


PROMISED = [
    "seed",
    "data.path",
    "data.size",
    "data.crop",
    "data.num_workers",
    "labels.TASK",
    "val",
    "inputs",
    "tasks",
    "model.backbone",
    "model.pretrained",
    "model.pretrained_inputs",
    "train.global_batch_size",
    "train.gradient_accumulation_steps",
    "train.epochs",
    "train.lr",
    "train.precision",
    "train.trace",
    "pseudo.TASK.teacher",
    "pseudo.TASK.keep",
    "checkpoint.every",
    "checkpoint.keep",
    "run.path",
]


@pytest.mark.parametrize("key", PROMISED)
def test_promised_option_exists_and_is_explained(key):
    assert len(documentation()[key]) > 10


def test_every_field_is_explained():
    def leaves(schema: Any, prefix: str = "") -> set[str]:
        hints, keys = get_type_hints(schema), set()
        for option in fields(schema):
            hint, key = hints[option.name], prefix + option.name
            if is_dataclass(hint):
                keys |= leaves(hint, f"{key}.")
                continue
            task = ".TASK" if str(hint).startswith("dict") else ""
            keys.add(key + task)
            for item in get_args(hint):
                keys |= leaves(item, f"{key}{task}.") if is_dataclass(item) else set()
        return keys

    texts = documentation()
    assert texts.keys() == leaves(Config)
    assert all(text.endswith(".") or ":" in text for text in texts.values()), "a text that breaks off"


# Inheritance, overrides, resolution


def test_a_file_overrides_what_it_inherits_relative_to_itself(tmp_path):
    write(tmp_path, DATA + "train: {lr: 0.5, epochs: 7}\nlabels: {semseg: 1, depth: 2}", "shared/base.yaml")
    write(tmp_path, "inherits: ../shared/base.yaml\ntrain: {epochs: 8}\nseed: 3", "a/middle.yaml")
    config = load(write(tmp_path, "inherits: a/middle.yaml\nseed: 4\nlabels: {semseg: 9}", "leaf.yaml"))
    assert (config.seed, config.train.epochs, config.train.lr) == (4, 8, 0.5)
    assert dict(config.labels) == {"semseg": 9, "depth": 2}
    assert config.train.global_batch_size == Config().train.global_batch_size
    assert config.experiment == "leaf"


def test_of_several_inherited_files_later_ones_win(tmp_path):
    write(tmp_path, DATA + "seed: 1\nval: 5", "a.yaml")
    write(tmp_path, "seed: 2", "b.yaml")
    config = load(write(tmp_path, "inherits: [a.yaml, b.yaml]"))
    assert (config.seed, config.val) == (2, 5)


def test_the_version_in_a_resolved_configuration_is_that_of_all_networks(tmp_path):
    """It used to be an option, and runs of the first version have none of a decoder."""
    text = to_yaml(load(write(tmp_path, DATA)))
    stored = write(tmp_path, text.replace("model:\n", "model:\n  version: 2\n"), "config.yaml")
    assert to_yaml(load(stored)) == text
    before = "".join(line for line in text.splitlines(True) if not line.startswith(("  decoder", "  widths", "  - ")))
    for old in (text.replace("model:\n", "model:\n  version: 1\n"), before):
        message = r"config\.yaml: model\.version: is of a network of version 1, not 2; train it again under"
        with pytest.raises(UserError, match=message):
            load(write(tmp_path, old, "config.yaml"))
    with pytest.raises(UserError, match=r"mine\.yaml: model\.version: is not an option"):
        load(write(tmp_path, DATA + "model: {version: 2}", "mine.yaml"))


def test_overrides_win_and_are_yaml(tmp_path):
    path = write(tmp_path, DATA + "seed: 1")
    config = load(
        path, ["seed=2", "inputs=[rgb, depth]", "labels.semseg=5", "train.max_grad_norm=null", "model.pretrained=w.s"]
    )
    assert (config.seed, list(config.inputs), dict(config.labels)) == (2, ["rgb", "depth"], {"semseg": 5})
    assert config.train.max_grad_norm is None and config.model.pretrained == "w.s"
    assert dict(load(path, ["labels.semseg=5", "labels.semseg=null"]).labels) == {"semseg": None}
    assert load(path, ["experiment=x", "run.root=/r"]).run.path == "/r/data/x/seed-1"


def test_the_resolved_configuration_is_read_only_and_reads_back_as_itself(tmp_path):
    path = write(tmp_path, DATA + "pseudo: {semseg: {teacher: t.yaml}}\nlabels: {depth: 4}")
    config = load(path)
    with pytest.raises(ReadonlyConfigError):
        config.seed = 5
    assert "${" not in to_yaml(config)
    reloaded = load(write(tmp_path, to_yaml(config), "again.yaml"))
    assert to_dict(reloaded) | {"pseudo": None} == to_dict(config) | {"pseudo": None}


def test_environment_variables_resolve_with_a_default(tmp_path, monkeypatch):
    path = write(tmp_path, "data: {path: '${oc.env:TUTELAGE_TEST_SHARDS,data/x}'}")
    assert load(path).data.path == "data/x"
    monkeypatch.setenv("TUTELAGE_TEST_SHARDS", "/elsewhere")
    assert load(path).data.path == "/elsewhere"


# Teachers


def test_a_teacher_stands_relative_to_the_file_that_names_it(tmp_path):
    write(tmp_path, DATA, "shared/t.yaml")
    write(tmp_path, DATA + "pseudo: {semseg: {teacher: t.yaml}}", "shared/base.yaml")
    config = load(write(tmp_path, "inherits: ../shared/base.yaml", "mine/c.yaml"))
    assert Path(config.pseudo.semseg.teacher).resolve() == (tmp_path / "shared/t.yaml").resolve()
    assert load(*teacher_call(config, "semseg", [])).experiment == "t"


def test_shared_overrides_reach_the_teacher_and_the_students_own_do_not(tmp_path):
    write(tmp_path, DATA + "inputs: [rgb, depth]", "t.yaml")
    config = load(write(tmp_path, DATA + "pseudo: {semseg: {teacher: t.yaml}}"))
    shared = ["seed=3", "run.root=r", "data.path=p", "labels.semseg=9", "train.lr=0.5", "val=2", "model.backbone=x"]
    student_only = ["experiment=e", "inputs=[rgb]", "tasks=[semseg]", "pseudo.semseg.keep=0.5", "run.path=x"]
    student_only += ["loss.normalise=all", "loss={normalise: all}", "model.fusion=early", "evaluate.split=dev"]
    student_only += ["evaluate.best=depth.rmse"]
    assert shared_overrides([*shared, *student_only]) == shared
    teacher = load(*teacher_call(config, "semseg", [*shared, *student_only]))
    assert (teacher.seed, teacher.train.lr, teacher.run.path) == (3, 0.5, "r/data/t/seed-3")
    assert list(teacher.inputs) == ["rgb", "depth"] and teacher.loss.normalise == "labelled"


# Mistakes

MISTYPED = {
    "train.epoch": "train.epochs",
    "train.globalbatch": "train.global_batch_size",
    "sed": "seed",
    "lables": "labels",
    "data.wrokers": "data.num_workers",
    "pseudo.semseg.kep": "pseudo.semseg.keep",
    "chekpoint": "checkpoint",
}


@pytest.mark.parametrize(("wrong", "right"), MISTYPED.items())
def test_a_mistyped_key_names_the_nearest_right_one_and_the_file(tmp_path, wrong, right):
    *sections, key = wrong.split(".")
    text = "".join(f"{name}: {{" for name in sections) + f"{key}: 1" + "}" * len(sections)
    path = write(tmp_path, text)
    message = error_of(path)
    assert message.startswith(f"{path}: {wrong}: ") and f"did you mean {right}?" in message


def test_a_mistake_in_an_inherited_file_names_that_file(tmp_path):
    base = write(tmp_path, "sed: 1", "base.yaml")
    assert error_of(write(tmp_path, "inherits: base.yaml")).startswith(f"{base}: sed: ")


INHERITED = {
    "train: {lr: -1}": "train.lr: -1.0 is less than 0",
    "train: {precision: fp8}": "train.precision: 'fp8' is unknown",
    "data: {size: 12}": "data.size: '12' is not a size",
    "data: {cache: '~nobody-at-all/c'}": "data.cache: ~nobody-at-all/c names a home folder that does not exist",
    "data: {name: '${nowhere}'}": "data.name: Interpolation key 'nowhere'",
    "pseudo: {depth: {teacher: t.yaml, keep: 1}}": "pseudo.depth.keep: 1.0 is not a threshold",
    "pseudo: {normals: {teacher: t.yaml}}": "pseudo.normals: pseudo-labels of normals, which is none of the tasks",
    "model: {name: fpn, decoder: heads}": "model.decoder: is an option of mtinet alone",
}


@pytest.mark.parametrize(("text", "problem"), INHERITED.items())
def test_a_wrong_value_in_an_inherited_file_names_the_last_file_that_wrote_it(tmp_path, text, problem):
    write(tmp_path, "train: {lr: 1}\nmodel: {decoder: mti}\ndata: {path: d, size: 4x4}", "oldest.yaml")
    base = write(tmp_path, f"inherits: oldest.yaml\n{text}", "base.yaml")
    leaf = write(tmp_path, "inherits: base.yaml\nseed: 1\ntrain: {epochs: 3}\nmodel: {norm: batch}")
    assert error_of(leaf).startswith(f"{base}: {problem}")


def test_a_wrong_value_in_a_section_of_the_command_line(tmp_path):
    message = error_of(write(tmp_path, DATA), "train={lr: -1}", "seed=2")
    assert message.startswith("command line: train.lr: -1.0 is less than 0")


def test_a_mistyped_override_names_the_command_line(tmp_path):
    message = error_of(write(tmp_path, DATA), "train.epoch=3")
    assert message == "command line: train.epoch: is not an option; did you mean train.epochs?"


WRONG = {
    "type": (DATA + "train: {epochs: many}", "train.epochs: 'many' is not an integer", "Passes over the frames"),
    "type of a budget": (DATA + "labels: {semseg: few}", "labels.semseg: 'few' is not an integer", "Budget"),
    "null": (DATA + "train: {epochs: null}", "train.epochs: ", "Passes"),
    "list for a mapping": (DATA + "labels: [1, 2]", "", "correct the value"),
    "scalar for a section": ("data: d", "", "correct the value"),
    "scalar for a mapping": (DATA + "pseudo: semseg", "pseudo: ", "Pseudo-labels"),
    "choice": (DATA + "train: {precision: fp8}", "train.precision: 'fp8' is unknown", "use one of fp32, bf16, fp16"),
    "no data": ("seed: 1", "data.path: is not set", "Folder of the data set"),
    "no teacher": (DATA + "pseudo: {depth: {keep: all}}", "pseudo.depth.teacher: is not set", "Configuration"),
    "no epochs": (DATA + "train: {epochs: 0}", "train.epochs: 0 is less than 1", "give 1 or more"),
    "no steps": (DATA + "train: {steps: 0}", "train.steps: 0 is less than 1", "give 1 or more"),
    "no frames": (DATA + "frames: 0", "frames: 0 is less than 1", "give 1 or more"),
    "negative frames": (DATA + "val: -1", "val: -1 is less than 1", "give 1 or more"),
    "negative dev": (DATA + "dev: -1", "dev: -1 is less than 0", "give 0 or more"),
    "negative workers": ("data: {path: d, num_workers: -1}", "data.num_workers: -1", "give 0 or more"),
    "infinite": (DATA + "train: {lr: .inf}", "train.lr: inf is not a finite number", "give 0 or more"),
    "dotted": (DATA + "train.lr: 1e-3", "train.lr: is not an option", "write it nested, train: {lr: ...}"),
    "dotted with a task": (DATA + "labels.x: 1", "labels.x: is not an option", "write it nested, labels: {x: ...}"),
    "octal": (DATA + "seed: 010", "seed: 010 is a number with a leading zero", "write it without the zero"),
    "octal in a section": (DATA + "labels: {depth: 08}", "labels.depth: 08 is a number with a", "write it without"),
    "octal in a list": (DATA + "model: {widths: [9, 010, 9, 9]}", "model.widths: 010 is a number", "write it without"),
    "not a number": (DATA + "train: {lr: .nan}", "train.lr: nan", "give 0 or more"),
    "negative budget": (DATA + "labels: {depth: -1}", "labels.depth: -1 frames", "give 0 or more"),
    "size": ("data: {path: d, size: 12}", "data.size: '12' is not a size", "write HEIGHTxWIDTH"),
    "empty size": ("data: {path: d, crop: 00x4}", "data.crop: '00x4' is not a size", "write HEIGHTxWIDTH"),
    "no inputs": (DATA + "inputs: []", "inputs: [] is empty", "name each one once"),
    "no pretrained inputs": (
        DATA + "model: {pretrained_inputs: []}",
        "model.pretrained_inputs: []",
        "name each one once",
    ),
    "tasks twice": (DATA + "tasks: [depth, depth]", "tasks: ['depth', 'depth']", "name each one once"),
    "pseudo of no task": (
        DATA + "tasks: [depth]\npseudo: {semseg: {teacher: t}}",
        "pseudo.semseg: ",
        "name one of the tasks",
    ),
    "threshold": (
        DATA + "pseudo: {semseg: {teacher: t, keep: 1}}",
        "pseudo.semseg.keep: 1.0 is not a threshold",
        "give a confidence",
    ),
    "label threshold": (
        DATA + "label: {threshold: 1.5}",
        "label.threshold: 1.5 is not a threshold",
        "give a confidence",
    ),
    "interpolation": (
        "data: {path: '${nowhere}'}",
        "data.path: Interpolation key 'nowhere'",
        "correct the interpolation",
    ),
    "environment": ("data: {path: '${oc.env:TUTELAGE_NOT_SET}'}", "data.path: KeyError", "correct the interpolation"),
    "grammar": ("data: {path: '${'}", "is not a configuration", "correct it"),
    "syntax": ("seed: 1\nval: ]", "is not a configuration (line 2: ", "correct it"),
    "key twice": (DATA + "val: 1\nval: 2", "is not a configuration (line 3: found duplicate key val)", "correct it"),
    "no list": (DATA + "augment: {zoom: 1.5}", "augment.zoom: is not a list", "write augment.zoom: [1.5]"),
    "list": ("- a", "holds no keys", "write `key: value`"),
    "number": ("3", "is not a configuration", "correct it"),
    "inherits a number": (DATA + "inherits: 3", "inherits: 3 names no file", "name one file"),
    "inherits nothing": (DATA + "inherits:", "inherits: None names no file", "name one file"),
    "inherits itself": (DATA + "inherits: c.yaml", "inherits: inherits itself", "remove the cycle"),
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_told_the_new_one(tmp_path, old, new):
    path = tmp_path / "c.yaml"
    path.write_text(DATA)
    with pytest.raises(UserError, match=rf"command line: {old}: is not an option; did you mean {new}\?"):
        load(path, [f"{old}=1"])


@pytest.mark.parametrize(("text", "problem", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_names_file_key_and_cure(tmp_path, text, problem, hint):
    path = write(tmp_path, text)
    message = error_of(path)
    assert message.startswith(f"{path}: {problem}") and f"; {hint}" in message.replace("it means: ", "")


@pytest.mark.parametrize(
    ("override", "message"),
    {
        "train.lr": "command line: 'train.lr' is not an override; write key=value",
        "=3": "command line: '=3' is not an override; write key=value",
        "train.lr=fast": "command line: train.lr: 'fast' is not a number",
        "train.lr=[": "command line: train.lr: ",
        "train.precision=fp8": "command line: train.precision: 'fp8' is unknown",
        "seed=99999999999999999999": "command line: seed: 99999999999999999999 is too large; give less than 2^63",
        "seed=010": "command line: seed: 010 is a number with a leading zero; write it without the zero",
        "train={steps: 08}": "command line: train.steps: 08 is a number with a leading zero",
        "checkpoint.every=0500": "command line: checkpoint.every: 0500 is a number with a leading zero",
        "train.lr=inf": "command line: train.lr: inf is not a finite number; give 0 or more",
        "seed=-1": "command line: seed: -1 is less than 0",
        "train.max_grad_norm=-1": "command line: train.max_grad_norm: -1.0 is not a norm; give more than 0, or null",
        "train.max_grad_norm=0": "command line: train.max_grad_norm: 0.0 is not a norm",
        "inputs=rgb": "command line: inputs: is not a list; write inputs=[rgb]",
        "data.size=big": "command line: data.size: 'big' is not a size",
    }.items(),
)
def test_a_wrong_override_names_the_command_line(tmp_path, override, message):
    assert error_of(write(tmp_path, DATA), override).startswith(message)


def test_epochs_that_steps_would_overrule_are_refused(tmp_path):
    path = write(tmp_path, DATA + "train: {steps: 9}")
    message = error_of(path, "train.epochs=3")
    assert message == "command line: train.epochs: train.steps=9 decides; set train.steps=null too"
    assert load(path, ["train.epochs=3", "train.steps=null"]).train.epochs == 3


def test_epochs_that_inherited_steps_would_overrule_are_refused(tmp_path):
    base = write(tmp_path, DATA + "train: {steps: 9, epochs: 2}", "base.yaml")
    assert load(base).train.epochs == 2, "a file may write both, such as a run's own"
    path = write(tmp_path, "inherits: base.yaml\ntrain: {epochs: 3}")
    assert error_of(path) == f"{path}: train.epochs: train.steps=9 of {base} decides; write steps: null next to it"
    leaf = write(tmp_path, "inherits: c.yaml\nseed: 1", "leaf.yaml")
    assert error_of(leaf).startswith(f"{path}: train.epochs: "), "the file that wrote it"
    assert load(path, ["train.steps=null"]).train.epochs == 3 and load(path, ["train.steps=4"]).train.steps == 4
    assert load(write(tmp_path, "inherits: base.yaml\ntrain: {epochs: 3, steps: null}")).train.epochs == 3
    assert load(write(tmp_path, "inherits: base.yaml\ntrain: {steps: 5}")).train.steps == 5


def test_a_missing_file_names_a_near_one(tmp_path):
    write(tmp_path, DATA, "student.yaml")
    assert error_of(tmp_path / "studnet.yaml").endswith(f"did you mean {tmp_path / 'student.yaml'}?")
    assert "does not exist" in error_of(tmp_path / "nowhere/c.yaml")


def test_what_is_no_text_is_no_configuration(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert "is not a configuration" in error_of(tmp_path / "c.yaml")
    assert "is a folder; name one of its configurations" in error_of(tmp_path)


def test_sizes():
    assert parse_size(None, "data.size") is None
    assert parse_size("96x128", "data.size") == (96, 128)
    for wrong in ("96", "96x", "x96", "96x128x3", "0x128", "-1x5", "axb"):
        with pytest.raises(UserError, match=r"data\.size: .* is not a size; write HEIGHTxWIDTH"):
            parse_size(wrong, "data.size")
