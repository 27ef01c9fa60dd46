"""Tables of results."""

import csv
import io
import json
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from analysis.results.groups import collect
from analysis.results.paper import Paper
from analysis.results.table import Results, as_csv, as_markdown, as_rich, roles, tabulate
from shards.errors import UserError
from trainer.runs.result import Result


def row(experiment: str, seed: int = 0, miou: float | None = 0.5, rmse: float | None = 1.0, **changes: Any) -> Result:
    tasks = changes.pop("tasks", ["semseg", "depth"])
    metrics = {"semseg": {"miou": miou}, "depth": {"rmse": rmse, "rmse_log": 0.25}}
    entry = {
        "experiment": experiment,
        "dataset": "nyudv2",
        "seed": seed,
        "inputs": ["rgb"],
        "tasks": tasks,
        "labels": {"semseg": 250, "depth": 500},
        "pseudo_labels": {},
        "normalise": "labelled",
        "metrics": {task: metrics.get(task, {"mean": 12.5}) for task in tasks},
    }
    return Result.from_json(entry | changes)


def cells(table: Results, experiment: str) -> dict[str, str]:
    """The cells of an experiment's row, by column title."""
    column = table.titles.index("experiment")
    return dict(zip(table.titles, next(row for row in table.rows if row[column] == experiment), strict=True))


def test_a_row_says_what_the_papers_does():
    student = row("ummt-ps", miou=0.2531, rmse=0.6534, pseudo_labels={"semseg": 250}, validation_frames=395)
    table = tabulate([row("ummt-d"), student, row("mmmt-d", inputs=["rgb", "depth"])])
    assert cells(table, "ummt-ps") == {
        "experiment": "ummt-ps",
        "inputs": "RGB",
        "outputs": "S+D",
        "losses": "GT-S + GT-D + P-S",
        "|A|": "500",
        "|B|": "250+250",
        "v": "395",
        "f1": "D",
        "f2": "S",
        "mIoU": "25.31",
        "rmse": "0.653",
        "rmse_log": "0.250",
    }
    assert cells(table, "ummt-d")["|B|"] == "250" and cells(table, "ummt-d")["losses"] == "GT-S + GT-D"
    assert cells(table, "mmmt-d")["inputs"] == "RGB+D"


def test_v_says_how_many_of_the_measured_frames_have_labels():
    part = row("part", validation_frames=12, validation_set="a", validation_labels={"semseg": 4, "depth": 12})
    whole = row("whole", validation_frames=12, validation_set="a", validation_labels={"semseg": 12, "depth": 12})
    old = row("old", validation_frames=12, validation_set="a")
    table = tabulate([part, whole, old, row("few", validation_frames=9, validation_set="b")])
    column = table.titles.index("v")
    assert [cells[column] for cells in table.rows] == ["12 (S 4)", "12", "12", "9*"]


PRINTED = {
    "mmst": ("S", "S"),
    "mmmt-d": ("D", "S"),
    "mmmt-s": ("S", "D"),
    "fmst": ("S", "S"),
    "umst-s": ("S", "S"),
    "ummt": ("D", "S"),
    "ummt-d": ("D", "S"),
    "ummt-pd": ("S", "D"),
    "ummt-ps": ("D", "S"),
}
"""f1 and f2 in the paper's Table 4."""


@pytest.mark.parametrize(("name", "letters"), PRINTED.items())
def test_f1_and_f2_are_the_papers(name, letters):
    """f2 is the task whose labels are missing or scarce, and which is evaluated; f1 is the other."""
    both_tasks = ["semseg", "depth"]
    tasks = ["semseg"] if "st" in name else both_tasks
    inputs = ["rgb", *{"mmst": ["depth"], "fmst": ["depth"], "mmmt-d": ["depth"], "mmmt-s": ["semseg"]}.get(name, [])]
    labels = {"semseg": 250, "depth": 500 if name in ("ummt-d", "ummt-ps") else 250}
    pseudo = {"ummt-ps": {"semseg": 250}, "ummt-pd": {"depth": 250}}.get(name, {})
    if name == "ummt-pd":
        labels = {"semseg": 500, "depth": 250}
    table = tabulate([row(name, inputs=inputs, tasks=tasks, labels=labels, pseudo_labels=pseudo)])
    columns = cells(table, name)
    assert (columns["f1"], columns["f2"], columns["v"]) == (*letters, "–"), "and v is not known of it"


def test_f1_and_f2_of_three_tasks_are_lists():
    three = row("a", tasks=["semseg", "depth", "normals"], labels={"semseg": 1, "depth": 2, "normals": 1})
    assert roles(three) == (["depth"], ["semseg", "normals"])
    assert roles(replace(three, labels={"semseg": 1, "depth": 1, "normals": 1})) == (["depth", "normals"], ["semseg"])


def test_seeds_become_mean_and_deviation():
    values = [0.20, 0.22, 0.27]
    table = tabulate([row("a", seed, value) for seed, value in enumerate(values)] + [row("b", 0, 0.3)])
    mean, deviation = 100 * statistics.mean(values), 100 * statistics.stdev(values)
    assert cells(table, "a")["mIoU"] == f"{mean:.2f} ± {deviation:.2f}" == "23.00 ± 3.61"
    assert cells(table, "b")["mIoU"] == "30.00"
    assert (cells(table, "a")["seeds"], cells(table, "b")["seeds"]) == ("3", "1")
    assert "seeds" not in tabulate([row("a"), row("b")]).titles


def test_what_is_missing_is_a_dash():
    single = row("umst-s", tasks=["semseg"], labels={"semseg": 250})
    table = tabulate([single, row("ummt", miou=None)])
    assert (cells(table, "umst-s")["rmse"], cells(table, "umst-s")["|A|"]) == ("–", "–")
    assert cells(table, "umst-s")["losses"] == "GT-S"
    assert cells(table, "ummt")["mIoU"] == "–"
    half = tabulate([row("a", 0, None), row("a", 1, 0.5)])
    assert cells(half, "a")["mIoU"] == "50.00", "a mean over those that are known"


def test_weights_of_one_backbone_are_told_apart():
    names = ["hrnet_w18", "hrnet_w18.ms_in1k", "hrnet_w18.ms_aug_in1k"]
    table = tabulate([row("a", backbone=name) for name in names])
    assert [line[table.titles.index("backbone")] for line in table.rows] == names


def test_settings_and_data_sets_are_kept_apart():
    table = tabulate([row("a"), row("a", normalise="all"), row("a", dataset="cityscapes")])
    assert len(table.rows) == 3 and table.titles[0] == "data"
    losses = table.titles.index("losses")
    assert [row[losses] for row in table.rows] == ["GT-S + GT-D", "GT-S + GT-D (all pixels)", "GT-S + GT-D"]
    assert "data" not in tabulate([row("a"), row("b")]).titles


def test_a_third_task_has_its_own_columns():
    labels = {"semseg": 1, "depth": 2, "normals": 3}
    three = row("a", tasks=["depth", "semseg", "normals"], labels=labels)
    columns = cells(tabulate([three]), "a")
    assert (columns["|normals|"], columns["normals mean °"], columns["semseg mIoU"]) == ("3", "12.50", "50.00")
    assert list(columns).index("semseg mIoU") < list(columns).index("depth rmse"), "the paper's order"


def test_the_three_formats_hold_the_same_cells():
    table = tabulate([row("a", seed, 0.2 + seed / 10, pseudo_labels={"semseg": 4}) for seed in (0, 1)] + [row("b")])
    rows = list(csv.reader(io.StringIO(as_csv(table))))
    assert rows == [table.titles, *table.rows]
    lines = as_markdown(table).splitlines()
    assert lines[0].startswith("| experiment | ") and set(lines[1]) == set("| -")
    assert r"\|A\|" in lines[0], "a bar would end the cell"
    assert [cell.strip() for cell in lines[2].strip("| ").split(" | ")] == table.rows[0]
    console = Console(file=io.StringIO(), width=200)
    console.print(as_rich(table))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(cell in text for line in table.rows for cell in line)


def test_results_are_collected_from_runs_experiments_and_folders(tmp_path):
    for name, seed in (("b", 1), ("b", 0), ("a", 0)):
        folder = tmp_path / f"d/{name}/seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(row(name, seed).to_json()))

    def collected(*paths) -> list[tuple[str, int]]:
        return [(result.experiment, result.seed) for result in collect(paths)]

    assert collected(tmp_path) == [("a", 0), ("b", 0), ("b", 1)]
    assert collected(tmp_path / "d/b") == [("b", 0), ("b", 1)]
    assert collected(tmp_path / "d/b/seed-1", tmp_path / "d/a/seed-0/result.json") == [("b", 1), ("a", 0)]
    (tmp_path / "empty").mkdir()
    for missing, problem in (("empty", "holds no result.json"), ("nowhere", "does not exist")):
        with pytest.raises(UserError, match=f"{missing}: {problem}; run the experiment"):
            collected(tmp_path, tmp_path / missing)
    (tmp_path / "d/a/seed-0/result.json").write_text("{")
    with pytest.raises(UserError, match=r"a/seed-0/result\.json: cannot be read"):
        collected(tmp_path)


def test_other_settings_of_an_experiment_are_no_seeds_of_it():
    few, many = row("a", 0, 0.2, budget={"semseg": 100}), row("a", 0, 0.4, budget={"semseg": 200})
    assert [line[-3:-2] for line in tabulate([few, many]).rows] == [["20.00"], ["40.00"]]


def test_runs_of_other_options_or_frames_are_no_seeds_of_it(tmp_path):
    """A learning rate, or the evaluated split, has a column only where it differs."""
    for number, (rate, split) in enumerate((("0.1", "val"), ("0.2", "val"), ("0.2", "dev"))):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "result.json").write_text(
            json.dumps(row("a", number, 0.1 * number, asked={"split": split}).to_json())
        )
        (folder / "config.yaml").write_text(f"seed: {number}\ntrain: {{lr: {rate}, log_every: {number + 1}}}\n")
    table = tabulate(collect([tmp_path]))
    columns = [table.titles.index(title) for title in ("split", "train.lr", "mIoU")]
    assert [[line[column] for column in columns] for line in table.rows] == [
        ["val", "0.1", "0.00"],
        ["val", "0.2", "10.00"],
        ["dev", "0.2", "20.00"],
    ]
    assert "train.lr" not in tabulate(collect([tmp_path / "0"])).titles


def test_experiments_that_saw_different_numbers_of_samples_show_it():
    """Other differences between experiments have columns of their own, or are expressed by their names."""
    short = row("ummt", steps=10, budget={"semseg": 100})
    table = tabulate([short, row("ummt-ps", steps=20, budget={"semseg": 200}, pseudo_labels={"semseg": 250})])
    assert [cells(table, name)["steps"] for name in ("ummt", "ummt-ps")] == ["10", "20"]
    assert "budget" not in table.titles
    assert "steps" not in tabulate([short, row("ummt-ps", steps=10)]).titles
    assert "steps" not in tabulate([short, row("ummt", steps=20, dataset="scenes")]).titles, "no table compares them"


def test_two_runs_of_a_seed_are_one(tmp_path):
    """Counted twice, they would make a deviation look smaller than it is."""
    table = tabulate([row("a", 0, 0.2), row("a", 1, 0.4), row("a", 1, 0.4)])
    assert cells(table, "a")["mIoU"] == "30.00 ± 14.14" and cells(table, "a")["seeds"] == "2"
    assert table.notes == ["a: of seed 1 there are 2 runs with the same settings, of which the first counts"]


def test_an_output_that_was_also_an_input_stands_in_brackets():
    table = tabulate([row("mmmt-d", seed, inputs=["rgb", "depth"]) for seed in (0, 1)])
    assert cells(table, "mmmt-d")["rmse"] == "(1.000 ± 0.000)" and cells(table, "mmmt-d")["mIoU"] == "50.00 ± 0.00"
    assert table.notes == ["(in brackets): an output that was also an input"]
    single = row("mmst", inputs=["rgb", "depth"], tasks=["semseg"])
    assert tabulate([single]).notes == [] and as_markdown(table).endswith("\n\n" + table.notes[0])


def test_the_papers_figures_stand_beside_what_was_measured():
    names = ["ummt-ps", "mine", "mmmt-d", "ummt"]
    results = [row(name, inputs=["rgb", "depth"] if name == "mmmt-d" else ["rgb"]) for name in names]
    table = tabulate(results, Paper.load())
    assert [line[0] for line in table.rows] == ["ummt", "mmmt-d", "ummt-ps", "mine"], "the paper's order"
    assert table.titles[-6:] == ["mIoU", "paper mIoU", "rmse", "paper rmse", "rmse_log", "paper rmse_log"]
    assert cells(table, "ummt")["paper rmse"] == "0.790" and cells(table, "mmmt-d")["paper rmse"] == "(0.337)"
    assert cells(table, "mine")["paper mIoU"] == "–"
    assert "paper: Table 4 of arXiv 2602.01899 (nyudv2)" in table.notes
    assert "paper mIoU" not in tabulate([row("ummt", dataset="scenes")], Paper.load()).titles


def test_a_figure_that_cannot_be_compared_is_marked():
    table = tabulate([row("ummt", dataset="cityscapes")], Paper.load())
    assert cells(table, "ummt")["paper rmse_log"] == "10.45 n.c." and cells(table, "ummt")["paper rmse"] == "32.65"
    assert any(
        note.startswith("n.c.: depth rmse_log is not comparable: it arises where pixels are scored at a floor")
        for note in table.notes
    )


def test_a_floor_near_nothing_gives_what_table_5_prints():
    """An rmse_log of 10.45 with natural logarithms of metres: not comparable, but possible."""
    truth = np.random.default_rng(0).uniform(5, 100, 100_000)
    errors = (np.log(1e-9) - np.log(truth)) ** 2, np.full(truth.size, np.log(1.2) ** 2)
    share = next(n / 100 for n in range(101) if (n * errors[0].mean() + (100 - n) * errors[1].mean()) / 100 > 10.45**2)
    assert share == pytest.approx(0.2, abs=0.03), "of the pixels at 1e-9 m, the others 20 % off"


def test_settings_are_shown_where_an_experiment_has_several():
    scratch, finetuned = {"pretrained": False, "size": [96, 128]}, {"pretrained": True, "size": [96, 128]}
    table = tabulate([row("a", **scratch), row("a", **finetuned), row("b", **scratch)])
    assert [line[table.titles.index("pretrained")] for line in table.rows] == ["no", "yes", "no"]
    assert "size" not in table.titles
    steps = tabulate([row("a", steps=1), row("a", steps=2)])
    assert [line[steps.titles.index("steps")] for line in steps.rows] == ["1", "2"]


def test_a_run_that_two_paths_lead_to_counts_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text(json.dumps(row("a").to_json()))
    assert len(collect([tmp_path, tmp_path / "a"])) == 1


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"result\.json: experiment: is not a result"):
        collect([tmp_path])


def test_two_tasks_of_one_kind_are_told_apart():
    metrics = {"depth": {"rmse": 0.5}, "height": {"rmse": 2.0}}
    table = tabulate([row("a", tasks=["depth", "height"], metrics=metrics)])
    line = cells(table, "a")
    assert (line["depth rmse"], line["height rmse"]) == ("0.500", "2.000") and "rmse" not in table.titles
    assert "depth rmse,height rmse" in as_csv(table)
    assert "rmse" in tabulate([row("a")]).titles, "the paper's two tasks need no names"
