"""Arguments of the components: what is not one of the expected kind is an error of one line that names it."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import tutelage as tt
from shards.manifest import Manifest
from trainer.experiment import Experiment
from trainer.runs.code import note_code


@pytest.fixture(scope="module")
def parts(tiny_dataset: Manifest) -> dict[str, Any]:
    """A network without training, data, and a folder for the labels of none."""
    torch.manual_seed(0)
    train, val = (tt.ShardDataset(tiny_dataset, split, tasks=["semseg", "depth"]) for split in ("train", "val"))
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
    return {"model": model, "train": train, "val": val}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "runs/mine"}, r"^model: is 'runs/mine', a str; give a Module"),
        ({"data": "data/rooms"}, r"^data: is 'data/rooms', a str; give a ShardDataset"),
        ({"inputs": "rgb"}, r"^inputs: is 'rgb'; give a list: inputs=\['rgb'\]"),
        ({"inputs": ["depth"]}, r"^inputs: lacks rgb, which the network takes"),
        ({"inputs": []}, r"^inputs: lacks rgb, which the network takes"),
        ({"inputs": ["rgb", "depth"]}, r"^inputs: has depth, which the network does not take; leave inputs out"),
        ({"tasks": ["semseg"]}, r"^tasks: holds 'semseg', a str; give tasks as a data set has them"),
        ({"tasks": "semseg"}, r"^tasks: is 'semseg', a str; give a list of tasks"),
        ({"batch_size": 0}, r"^batch_size: is 0; give a whole number from 1 up"),
        ({"size": (24,)}, r"^size: is \(24,\); give size=\(height, width\)"),
        ({"measurement": "label"}, r"^measurement: is 'label', a str; give a Measurement"),
        (
            {"measurement": tt.Measurement(ranges={"depht": (0, 2)})},
            r"^ranges\['depht'\]: no such task is measured; name",
        ),
        ({"measurement": tt.Measurement(ranges={"semseg": (0, 2)})}, r"^ranges\['semseg'\]: "),
    ],
)
def test_what_evaluate_does_not_take(parts, options, message):
    arguments = {"model": parts["model"], "data": parts["val"]} | options
    with pytest.raises(tt.UserError, match=message) as error:
        tt.evaluate(arguments.pop("model"), arguments.pop("data"), **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", [3, None])
def test_what_is_no_path_is_named(parts, tmp_path, path):
    model, train = parts["model"], parts["train"]
    described = r"is None; give a path" if path is None else r"is 3, an int; give a path"
    calls = {
        "data": lambda: tt.ShardDataset(path),
        "folder": lambda: tt.PseudoLabels(path),
        "model": lambda: tt.Predictor(path),
        "out": lambda: tt.label(model, train, path),
    }
    for key, call in calls.items():
        with pytest.raises(tt.UserError, match=f"^{key}: {described}"):
            call()
    loss = tt.MultiTaskLoss(train.tasks)
    with pytest.raises(tt.UserError, match=f"^out: {described}"):
        tt.Trainer(model, loss, train, out=path, global_batch_size=4, steps=1)
    with pytest.raises(tt.UserError, match=r"^path: is 3, an int|^Experiment: takes either"):
        tt.Experiment(path)
    with pytest.raises(tt.UserError, match=r"^overrides: is 'seed=3'; give a list: overrides=\['seed=3'\]"):
        tt.Experiment("scenes/ummt-d", "seed=3")


def test_iterators_of_tasks_and_inputs_are_as_good_as_lists(parts, tmp_path):
    model, val, tasks = parts["model"], parts["val"], parts["train"].tasks
    expected = tt.evaluate(model, val)
    assert tt.evaluate(model, val, tasks=(task for task in tasks), inputs=iter(["rgb"])) == expected
    assert tt.MultiTaskLoss(task for task in tasks).tasks == tasks
    tt.label(model, val, tmp_path, tasks=(task for task in tasks), frames="all")
    assert sorted(task.name for task in Manifest.load(tmp_path, kind="labels").tasks) == ["depth", "semseg"]
    network = tt.create_model("fpn", backbone="test_efficientnet", tasks=(task for task in tasks))
    assert network.architecture.tasks == tasks


def test_what_labelling_does_not_take(parts, tmp_path):
    for data, options, message in (
        ("data/raw", {}, r"^data: is 'data/raw', a str; give a ShardDataset"),
        (parts["train"], {"size": "16x24"}, r"^size: is '16x24'; give size="),
        (parts["train"], {"batch_size": 2.5}, r"^batch_size: is 2\.5; give int"),
    ):
        with pytest.raises(tt.UserError, match=message):
            tt.label(parts["model"], data, tmp_path, **options)


@pytest.mark.parametrize("options", [{"resolution": "lable"}, {"crop": "eign"}])
def test_a_measurement_that_does_not_exist(options):
    with pytest.raises(tt.UserError, match=r"^(resolution|crop): '\w+' is unknown; use "):
        tt.Measurement(**options)


def test_a_predictor_is_not_a_network_and_has_one(parts, tmp_path):
    trainer = tt.Trainer(
        parts["model"],
        tt.MultiTaskLoss(parts["train"].tasks),
        parts["train"],
        out=tmp_path,
        global_batch_size=2,
        steps=1,
    )
    predictor = tt.Predictor(trainer.fit())
    for size in ((0, 3), 16, "16x24"):
        with pytest.raises(tt.UserError, match=r"^size: is .*; give size=\(height, width\)"):
            tt.Predictor(predictor.folder, size=size)
    rgb = parts["val"][0]["rgb"].transpose(2, 0, 1)[None]
    with pytest.raises(tt.UserError, match=r"^rgb: is array\(.*, a ndarray; give a Tensor"):
        predictor.forward({"rgb": rgb})
    with pytest.raises(tt.UserError, match=r"^rgb: is missing; give rgb"):
        predictor.forward({})
    for call in (tt.evaluate, lambda model, data: tt.label(model, data, tmp_path / "labels", frames="all")):
        with pytest.raises(tt.UserError, match=r"^model: is a Predictor; give its network: predictor\.network"):
            call(predictor, parts["val"])
    assert tt.evaluate(predictor.network, parts["val"]) == tt.evaluate(parts["model"], parts["val"])


def test_validation_data_that_lack_labels(parts, tiny_dataset, tmp_path):
    """The best network is chosen by the first task that they show; without one, an error comes before training."""

    def trainer(**labels: int) -> tt.Trainer:
        val = tt.ShardDataset(tiny_dataset, "val", labels=labels)
        loss = tt.MultiTaskLoss(parts["train"].tasks)
        return tt.Trainer(parts["model"], loss, parts["train"], out=tmp_path, val=val, global_batch_size=2, steps=1)

    assert [trainer(**labels).validation.best for labels in ({}, {"semseg": 0})] == ["semseg.miou", "depth.rmse"]
    with pytest.raises(tt.UserError, match=r"MANIFEST\.json: val: no sample shows semseg or depth; give other samples"):
        trainer(semseg=0, depth=0)
    trainer(semseg=0).fit()
    assert json.loads((tmp_path / "checkpoints/best/model.json").read_text())["metric"] == "depth.rmse"


def test_a_task_without_any_label_is_not_trained(parts, tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", labels={"depth": 0})
    with pytest.raises(tt.UserError, match=r"MANIFEST\.json: tasks: no sample shows depth, so it would be learnt from"):
        tt.Trainer(parts["model"], tt.MultiTaskLoss(train.tasks), train, out=tmp_path, global_batch_size=2, steps=1)


def test_training_in_a_thread(parts, tmp_path):
    """As in a notebook's or a server's; only the main thread handles signals."""
    loss = tt.MultiTaskLoss(parts["train"].tasks)
    trainer = tt.Trainer(parts["model"], loss, parts["train"], out=tmp_path, global_batch_size=2, steps=1)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(trainer.fit).result() == tmp_path / "checkpoints/last"


def test_what_training_does_not_take(parts, tmp_path):
    train = parts["train"]
    with pytest.raises(tt.UserError, match=r"^tasks: holds 'semseg', a str"):
        tt.MultiTaskLoss(["semseg"])  # type: ignore[list-item]
    with pytest.raises(tt.UserError, match="semsegg"):
        tt.TrainingData(train, ["rgb"], ["semsegg"])
    loss = tt.MultiTaskLoss(train.tasks)
    with pytest.raises(tt.UserError, match=r"^train: is .*, a dict; give a Train or None"):
        tt.Trainer(parts["model"], loss, train, out=tmp_path, train={"steps": 1})  # type: ignore[arg-type]
    with pytest.raises(tt.UserError, match=r"^optimizer: is 'sgd', a str; give an Optimizer or None"):
        tt.Trainer(parts["model"], loss, train, out=tmp_path, optimizer="sgd")  # type: ignore[arg-type]
    with pytest.raises(tt.UserError, match=r"^data: .*; give a ShardDataset or TrainingData"):
        tt.Trainer(parts["model"], loss, "data", out=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", ["rgb", [], ["depth"], ["rgb", "depth"]])
def test_training_on_other_inputs_than_the_networks_is_refused(parts, tmp_path, inputs):
    """More inputs than it takes would leave out the frames without them."""
    train = parts["train"]
    with pytest.raises(tt.UserError, match=r"^inputs: (is 'rgb'|lacks rgb, which|has depth, which)"):
        tt.Trainer(parts["model"], tt.MultiTaskLoss(train.tasks), train, out=tmp_path, inputs=inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "data/raw"}, r"^data: is 'data/raw', a str; give a ShardDataset"),
        ({"augment": {"flip": True}}, r"^augment: is \{'flip': True\}, a dict; give an Augment or None"),
        ({"pseudo_share": 2}, r"^pseudo_share: 2 is not a share; give 0 to 1, or null"),
        ({"pseudo_share": "x"}, r"^pseudo_share: is 'x'; give float or None"),
        ({"crop": (0, 0)}, r"^crop: is \(0, 0\); give crop=\(height, width\)"),
        ({"crop": "16x16"}, r"^crop: is '16x16'; give crop=\(height, width\)"),
        ({"size": "16x24"}, r"^size: is '16x24'; give size=\(height, width\)"),
        ({"num_workers": -1}, r"^num_workers: -1 is less than 0"),
        ({"shuffle_window": 0}, r"^shuffle_window: 0 is less than 1"),
        ({"seed": 1.5}, r"^seed: is 1\.5; give int"),
    ],
)
def test_what_training_data_do_not_take(parts, options, message):
    with pytest.raises(tt.UserError, match=message):
        tt.TrainingData(**({"data": parts["train"], "inputs": ["rgb"], "tasks": ["semseg"]} | options))


def test_a_trainers_seed_is_that_of_its_data_unless_they_have_their_own(parts, tmp_path):
    train, loss = parts["train"], tt.MultiTaskLoss(parts["train"].tasks)
    names = [task.name for task in train.tasks]
    shared, own = tt.TrainingData(train, ["rgb"], names), tt.TrainingData(train, ["rgb"], names, seed=0)
    used = [
        [tt.Trainer(parts["model"], loss, data, out=tmp_path, seed=seed).data.seed for seed in (3, 4)]
        for data in (train, shared, own)
    ]
    assert used == [[3, 4], [3, 4], [0, 0]]


def test_a_run_of_other_settings_is_refused_whatever_differs(parts, tmp_path):
    train = parts["train"]
    names = [task.name for task in train.tasks]

    def trainer(data: dict[str, Any], loss: dict[str, Any], **options: Any) -> tt.Trainer:
        model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
        if options.pop("betas", None):
            parameters = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4, betas=(0.5, 0.9))
            options["optimizer"] = parameters
        options |= {"global_batch_size": 4, "steps": 1, "out": tmp_path}
        return tt.Trainer(
            model, tt.MultiTaskLoss(train.tasks, **loss), tt.TrainingData(train, ["rgb"], names, **data), **options
        )

    trainer({}, {}).fit()
    for data, loss, options, key in (
        ({"shuffle_window": 5}, {}, {}, "shuffle_window"),
        ({"seed": 5}, {}, {}, "data_seed"),
        ({}, {"deep_cells": 7}, {}, "loss_cells"),
        ({}, {}, {"norm": "frozen"}, "norm"),
        ({}, {}, {"betas": True}, "optimizer_group"),
    ):
        with pytest.raises(tt.UserError, match=rf"{key}: holds a run with .*; give another out"):
            trainer(data, loss, **options).fit()


def test_a_network_that_was_trained_in_bf16_trains_in_fp32_next(parts, tmp_path):
    train = parts["train"]
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
    for precision in ("bf16", "fp32"):
        options = {"out": tmp_path / precision, "global_batch_size": 4, "steps": 1, "precision": precision}
        trainer = tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, **options)
        trainer.fit()
    batch = next(iter(trainer.data.batches(trainer.batches, 0, 1)))
    assert trainer.updater.predict(batch).final["depth"].dtype == torch.float32


def test_a_teachers_labels_are_no_truth_to_evaluate_on(parts, tiny_dataset, tmp_path):
    train = parts["train"]
    labels = tt.label(parts["model"], train, tmp_path, tasks=train.tasks, inputs=["rgb"], frames="all")
    del labels
    pseudo = {name: tt.PseudoLabels(tmp_path, holes=True) for name in ("semseg", "depth")}
    taught = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg", "depth"], pseudo=pseudo)
    assert len(taught.frames.pseudo) == 2
    for resolution in ("network", "label"):
        measurement = tt.Measurement(resolution)
        expected = tt.evaluate(parts["model"], train, measurement=measurement)
        assert tt.evaluate(parts["model"], taught, measurement=measurement) == expected


def test_what_a_data_set_does_not_take(tiny_dataset):
    for options, message in (
        ({"tasks": "semseg"}, r"^tasks: is 'semseg'; give a list"),
        ({"size": "24x32"}, r"^size: is '24x32'; give size=\(height, width\)"),
        ({"size": (0, 24)}, r"^size: is \(0, 24\); give size=\(height, width\)"),
        ({"labels": {"semseg": 5.5}}, r"^labels\.semseg: is 5\.5; give a whole number from 0 up"),
        ({"labels": {"semseg": "5"}}, r"^labels\.semseg: is '5'; give a whole number"),
        ({"labels": ["semseg"]}, r"^labels: is \['semseg'\], a list; give a Mapping or None"),
        ({"pseudo": tt.PseudoLabels("x")}, r"^pseudo: is PseudoLabels\(.*; give a Mapping or None"),
        ({"seed": "a"}, r"^seed: is 'a'; give a whole number from 0 up"),
        ({"pseudo": {"semseg": "labels"}}, r"^pseudo\['semseg'\]: is a str; give PseudoLabels\(folder\)"),
        ({"pseudo": {"semseg": tt.PseudoLabels("nowhere")}}, r"nowhere/MANIFEST\.json: does not exist; label with"),
    ):
        with pytest.raises(tt.UserError, match=message):
            tt.ShardDataset(tiny_dataset, **options)  # type: ignore[arg-type]
    train = tt.ShardDataset(tiny_dataset)
    for index in (0.5, "train_000"):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            train[index]  # type: ignore[call-overload]
    with pytest.raises(IndexError, match="sample 12 of 12, counted from 0"):
        train.select([3, 12])
    with pytest.raises(tt.UserError, match="no train frame is chosen"):
        tt.TrainingData(train.select([]), ["rgb"], ["semseg"])


def test_the_hash_of_a_module_in_the_working_directory_is_stored_before_it_is_imported(make, tmp_path, monkeypatch):
    """An installed command does not search the working directory until something is imported from it."""
    (tmp_path / "weighs.py").write_text("raise ImportError('it is not imported to be hashed')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in __import__("sys").path if entry not in ("", str(tmp_path))])
    experiment: Experiment = make("plain", "loss.weighting=weighs:Mine")
    experiment.folder.mkdir(parents=True)
    note_code(experiment)
    assert json.loads((experiment.folder / "code.json").read_text()).keys() == {"weighs:Mine"}
