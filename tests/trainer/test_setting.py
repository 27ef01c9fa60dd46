"""What runs of one row have in common, from their results and configurations."""

from dataclasses import replace
from typing import Any

import pytest

from shards.errors import UserError
from trainer.runs.result import Result
from trainer.setting import decisive, format_value, options_of, same, setting


def row(options: dict[str, Any] | None = None, **changes: Any) -> Result:
    """A result with little in it, and the options of the run that it is of."""
    entry: dict[str, Any] = {"experiment": "e", "dataset": "d", "seed": 0, "inputs": ["rgb"], "tasks": ["depth"]}
    entry |= {"labels": {}, "pseudo_labels": {}, "normalise": "labelled", "metrics": {}}
    return replace(Result.from_json(entry | changes), options=options or {})


def test_only_what_decides_figures_counts():
    result = decisive({"seed": 1, "train": {"lr": 0.1, "log_every": 5}, "data": {"path": "a", "size": None}, "val": 3})
    assert result == {"seed": 1, "train.lr": 0.1, "data.size": None}
    assert decisive({"pseudo": {"t": {"teacher": "a/b/c.yaml"}}}) == {"pseudo.t.teacher": "c.yaml"}


def test_options_that_are_newer_than_a_run_have_their_defaults(tmp_path):
    assert options_of(tmp_path) == {}
    (tmp_path / "config.yaml").write_text("train: {lr: 0.5}\n")
    options = options_of(tmp_path)
    assert options["train.lr"] == 0.5 and options["train.warmup_steps"] == 0 and "run.root" not in options


def test_runs_of_another_version_of_networks_are_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("model: {version: 2, decoder: heads}\n")
    options = options_of(tmp_path)
    assert options["model.decoder"] == "heads" and "model.version" not in options
    hints = {1: "train it again under another run.root, or leave it out", 3: "use a newer Tutelage"}
    for version, hint in hints.items():
        file.write_text(f"model: {{version: {version}, decoder: heads}}\n")
        with pytest.raises(UserError, match=rf"config\.yaml: model\.version: .* version {version}, not 2; {hint}"):
            options_of(tmp_path)
    file.write_text("model: {backbone: hrnet_w18}\n")
    with pytest.raises(UserError, match=r"of a network of version 1, not 2"):
        options_of(tmp_path)


def test_epochs_count_where_they_decide_the_steps():
    options = {"train.epochs": 100, "train.steps": None}
    assert setting(row(options, steps=7))["epochs"] == 100
    assert setting(row(options | {"train.steps": 7}, steps=7))["epochs"] is None
    assert setting(row(steps=7))["epochs"] is None


def test_what_drew_the_validation_frames_keeps_runs_apart():
    def drawn(**asked) -> object:
        return setting(row(asked=asked))["val_seed"]

    assert drawn(split="val", val=395, val_seed=0) == 0
    assert drawn(split="val", val=395) == "each run's", "a run of before there was the option"
    assert drawn(split="val", val=None) is drawn(split="dev", val=395) is drawn() is None


def test_where_the_first_weights_came_from():
    def pretrained(stored, option) -> str:
        return format_value(setting(row({"model.pretrained": option}, pretrained=stored))["pretrained"])

    assert [pretrained(*arguments) for arguments in ((False, False), ("hub", True), ("1a2b3c4d", "x.safetensors"))] == [
        *("no", "hub", "1a2b3c4d")
    ]
    old = "runs/scenes-pretrain/pretrain/seed-0/checkpoints/last/model.safetensors"
    assert [pretrained(True, option) for option in (True, old, "weights/a.safetensors", None)] == [
        *("hub", "pretrain", "a", "yes")
    ]


def test_runs_that_start_from_one_of_their_own_seed_are_of_one_row():
    def start(path: str | None) -> object:
        return setting(row({"model.start": path}))["model.start"]

    own = {start(f"runs/d/pre/seed-{seed}/checkpoints/last") for seed in (0, 1, 12)}
    assert own == {"runs/d/pre/seed-*/checkpoints/last"}
    for other in ("pre/seed-0/checkpoints/best", "e/seed-0/checkpoints/last"):
        assert start(f"runs/d/{other}") not in own
    assert start("seed-3/checkpoints/last") == "seed-*/checkpoints/last"
    for path in ("exported", "nets/seed-0", "a/b/c/d", None):
        assert start(path) == path
    assert "model.start" not in setting(row())


def test_the_order_of_keys_is_no_difference():
    assert same({"a": 1, "b": [2]}, {"b": [2], "a": 1}) and not same({"a": 1}, {"a": 2})
    assert [format_value(value) for value in ({}, {"semseg": 8}, [96, 128], None, True, 0.9)] == [
        *("all", "semseg 8", "96x128", "–", "yes", "0.9")
    ]
