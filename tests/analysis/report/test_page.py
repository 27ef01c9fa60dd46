"""The report's page: its sections, what it leaves out where files are missing, and that all text of runs is escaped."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tiny import DEPTH, NORMALS, SEMSEG, Tiny

from analysis.report.collect import collect
from analysis.report.page import render, write
from analysis.report.predictions import baseline_pairs
from analysis.results.paper import Paper
from shards.errors import UserError
from shards.pack import pack
from shards.sources.base import Frame
from trainer.experiment import Experiment
from trainer.stages import run

EVIL = '<script>alert("1")</script>'
AFFINITY = {
    "seeds": [0, 1, 2],
    "gains": [
        {"source": "depth", "target": "semseg", "helps": True, "relative": {"mean": 0.31, "low": 0.12, "high": 0.5}},
        {"source": "semseg", "target": "depth", "helps": None, "relative": {"mean": -0.02, "low": None, "high": None}},
    ],
    "verdicts": [{"condition": "2-mirror", "words": f"depth helps semseg {EVIL}"}],
    "recommended": {
        "semseg": {"inputs": ["rgb", "depth"], "keep": 0.9, "why": "it helps"},
        "depth": {"inputs": None, "keep": "all", "why": "no"},
    },
}


class Elements(HTMLParser):
    """The elements of a page, with a check that each is closed where it should be."""

    VOID = ("meta", "img", "input", "br", "line", "rect", "circle", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID or (tag in ("path", "circle", "rect") and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render_page(*paths: Path, **options) -> Elements:
    return Elements(render(collect(paths, **options), 2))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A copy of the finished runs of ``teacher`` and ``student``."""
    return tmp_path / "runs" / "scenes"


def test_every_section_is_there(runs, tmp_path):
    write([runs], tmp_path / "out" / "report.html", frames=2)
    page = Elements((tmp_path / "out" / "report.html").read_text())
    for title in ("Results", "Training", "Classes", "Predictions", "Pseudo-labels", "Reproduce"):
        assert page.text.count(title) >= 2, "in the list of sections and over its own"
    assert "teacher labels semseg" in page.text and "8 frames" in page.text
    assert "Most confident" in page.text and "Least confident" in page.text
    assert "kept, and" in page.text and "of those are right" in page.text


def test_a_pair_of_experiments_is_compared_if_asked_for(runs, tmp_path):
    contents = collect([runs])
    assert "student − teacher" not in Elements(render(contents, 1)).text
    assert "student − teacher" in Elements(render(contents, 1, ["student,teacher"])).text
    with pytest.raises(UserError, match="--compare: student,nobody is not a pair of experiments; name two, such as"):
        write([runs], tmp_path / "r.html", compare=["student,nobody"])


def test_it_asks_for_nothing_and_holds_no_script(runs):
    text = render(collect([runs]), 2)
    page = Elements(text)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:image/", "#"))
    assert not re.search(r"url\(|@import", text)


def test_links_lead_somewhere_and_pictures_have_a_text(runs):
    page = render_page(runs)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)
    assert all("alt" in image for image in page.all("img"))
    assert sum(bool(image["alt"]) for image in page.all("img")) > 20
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))


def test_the_same_runs_give_the_same_page(runs):
    assert render(collect([runs]), 1) == render(collect([runs]), 1)


def test_the_number_of_frames(runs):
    collected = collect([runs])
    articles = [Elements(render(collected, count)).all("article") for count in (1, 50)]
    assert [len(elements) for elements in articles] == [1, 6], "no more than there are"


def test_what_stands_in_runs_is_escaped(runs):
    for folder in runs.glob("*/seed-0"):
        result = json.loads((folder / "result.json").read_text())
        environment = result["environment"] | {EVIL: EVIL}
        edit(folder / "result.json", experiment=EVIL + folder.parent.name, dataset=EVIL, environment=environment)
        edit(folder / "result.json", command=["tutelage", EVIL])
        (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + f"# </pre>{EVIL}\n")
    (runs / "affinity.json").write_text(json.dumps(AFFINITY))
    page = render_page(runs)
    assert not page.all("script") and page.text.count(EVIL) > 8


def test_class_names_are_escaped(runs, tmp_path):
    model = next(runs.glob("student/seed-0/checkpoints/last/model.json"))
    facts = json.loads(model.read_text())
    facts["architecture"]["tasks"][0]["classes"][0] = EVIL
    model.write_text(json.dumps(facts))
    edit(runs / "student/seed-0/result.json", asked={"manifest": "another"})  # so that names come from the network
    shutil.rmtree(runs / "teacher")
    page = render_page(runs)
    assert not page.all("script") and EVIL in page.text


# Missing files: their part is left out, and the page says so


def test_without_the_data_set(runs, scenes_dataset, tmp_path, caplog):
    moved = tmp_path / "moved"
    shutil.copytree(scenes_dataset.folder, moved)
    for config in runs.glob("*/seed-0/config.yaml"):
        config.write_text(config.read_text().replace(str(scenes_dataset.folder), str(tmp_path / "gone")))
    page = render_page(runs)
    assert f"No pictures: {tmp_path}/gone: data.path: the data set is not there any more" in page.text
    assert "no predictions" in caplog.text
    assert "their accuracy is unknown" in page.text and "kept" in page.text and not page.all("article")
    assert "wall" in page.text, "class names come from the networks"
    moved_page = render_page(runs, data=[moved])
    assert moved_page.all("article") and "unknown" not in moved_page.text


def test_another_data_set_is_not_taken_for_it(runs, tiny_dataset, scenes_dataset, tmp_path):
    for config in runs.glob("*/seed-0/config.yaml"):
        config.write_text(config.read_text().replace(str(scenes_dataset.folder), str(tiny_dataset.folder)))
    page = render_page(runs)
    assert "is not the data set that the runs were evaluated on; give its place: --data DATASET" in page.text


def test_without_checkpoints_labels_and_metrics(runs):
    for folder in runs.glob("*/seed-0"):
        shutil.rmtree(folder / "checkpoints")
        shutil.rmtree(folder / "labels", ignore_errors=True)
        (folder / "metrics.jsonl").unlink()
    page = render_page(runs)
    assert "no run has its checkpoint any more" in page.text and "metrics.jsonl" in page.text
    assert "Pseudo-labels" not in page.text and "Intersection over union" in page.text


def test_a_configuration_that_is_gone_costs_the_pictures_of_its_run_alone(runs):
    (runs / "student/seed-0/config.yaml").unlink()
    page = render_page(runs)
    assert page.all("article") and "another split: student" in " ".join(page.text.split())


def test_a_damaged_checkpoint_costs_the_pictures_alone(runs):
    next(runs.glob("student/*/checkpoints/last/model.safetensors")).write_bytes(b"")
    page = render_page(runs)
    assert "model.safetensors: is missing or differs" in page.text and "teacher labels semseg" in page.text


def test_a_run_that_was_evaluated_on_another_split_costs_its_pictures_alone(runs, make):
    other = make("plain", "dev=4", "evaluate.split=dev")
    run(other)
    page = render_page(runs)
    assert page.all("article") and "were evaluated on another split: plain" in " ".join(page.text.split())


def test_what_is_not_finished_is_named(runs, tmp_path):
    assert "Not finished" not in render_page(runs).text
    shutil.copytree(runs / "student/seed-0", runs / "student/seed-1")
    (runs / "student/seed-1/result.json").unlink()
    assert f"not shown: {(runs / 'student/seed-1').resolve()} (evaluate: finished)." in render_page(runs).text


def test_a_line_that_a_crash_cut_ends_the_curve(runs):
    record = runs / "student/seed-0/metrics.jsonl"
    record.write_text(record.read_text() + '{"step": 99, "lo')
    (student,) = [run for run in collect([runs]).runs if run.result.experiment == "student"]
    assert [line["step"] for line in student.lines][-1] == 4


def test_a_single_run_without_pseudo_labels(runs, make):
    single = make("plain", "tasks=[semseg]", "labels={semseg: 8}")
    run(single)
    page = render_page(single.folder)
    assert "Pseudo-labels" not in page.text and "Outlined" not in page.text and page.all("article")


def test_an_affinity_alone(tmp_path):
    (tmp_path / "affinity.json").write_text(json.dumps(AFFINITY))
    page = render_page(tmp_path / "affinity.json")
    assert "+31.0 %" in page.text and "+12.0 % to +50.0 %" in page.text and "helps" in page.text
    assert "−2.0 %" in page.text and "one seed" in page.text
    assert "One way" in page.text and "mirror" not in page.text, (
        "a number that the tasks' order gave stands in old files"
    )
    assert "from a teacher that sees rgb + depth (it helps)" in page.text and not page.all("script")


def test_one_of_before_is_shown_unless_there_is_a_newer_one(tmp_path):
    (tmp_path / "relation.json").write_text(json.dumps(AFFINITY))
    for path in (tmp_path, tmp_path / "relation.json"):
        assert "+31.0 %" in render_page(path).text
    (tmp_path / "affinity.json").write_text(json.dumps(AFFINITY))
    assert [matrix.file.name for matrix in collect([tmp_path]).affinities] == ["affinity.json"]


def test_how_verdicts_are_to_be_taken_stands_below_them(tmp_path):
    affinity = AFFINITY | {"level": 0.95, "looks": [2], "split": "val"}
    (tmp_path / "affinity.json").write_text(json.dumps(affinity))
    page = render_page(tmp_path / "affinity.json")
    assert "Holm's method over the 2 pairs" in page.text and "fix the number of seeds before you look" in page.text
    assert "evaluated with 2 seeds before" in page.text and "judged on validation frames" in page.text


def test_runs_behind_an_affinity_are_its_own(runs):
    shutil.move(runs / "teacher", runs / "affinity" / "teacher")
    (runs / "affinity" / "affinity.json").write_text(json.dumps(AFFINITY))
    assert [run.result.experiment for run in collect([runs]).runs] == ["student"]
    assert [run.result.experiment for run in collect([runs / "affinity"]).runs] == ["teacher"]


def test_refusals(runs, tmp_path):
    with pytest.raises(UserError, match="--frames: 0 frames; give 1 or more"):
        write([runs], tmp_path / "r.html", frames=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="runs: --out: is a folder; name a file in it"):
        write([runs], tmp_path / "runs")
    with pytest.raises(UserError, match=r"empty: holds no result\.json; run the experiment"):
        write([tmp_path / "empty"], tmp_path / "r.html")
    with pytest.raises(UserError, match=r"empty/MANIFEST\.json: does not exist; make the data set"):
        write([runs], tmp_path / "r.html", data=[tmp_path / "empty"])
    (tmp_path / "affinity.json").write_text("[]")
    with pytest.raises(UserError, match=r"affinity\.json: is not a task affinity: \[\] is not a mapping; measure"):
        write([tmp_path / "affinity.json"], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


# Many runs


def test_seeds_share_a_colour_and_settings_do_not(runs):
    for seed in (1, 2):
        shutil.copytree(runs / "student/seed-0", runs / f"student/seed-{seed}")
        edit(runs / f"student/seed-{seed}/result.json", seed=seed)
    shutil.copytree(runs / "student/seed-0", runs / "other/seed-0")
    edit(runs / "other/seed-0/result.json", normalise="all")
    (part,) = collect([runs]).parts
    assert [(group.name, len(group.runs)) for group in part.groups] == [
        ("student (normalise all)", 1),
        ("student", 3),
        ("teacher", 1),
    ]
    assert [group.number for group in part.groups] == [0, 1, 2]
    assert part.groups[1].first.seed == 0
    page = render_page(runs)
    assert "in 3 seeds" not in page.text and "3 experiments, 5 runs" in " ".join(page.text.split())


def test_every_experiment_of_many_has_a_colour(runs, tmp_path):
    for number in range(33):
        (tmp_path / f"many/{number}").mkdir(parents=True)
        shutil.copy(runs / "student/seed-0/result.json", tmp_path / f"many/{number}")
        edit(tmp_path / f"many/{number}/result.json", experiment=f"{number}")
    text = render(collect([tmp_path / "many"]), 1)
    assert {f"k{number}" for number in range(33)} == set(re.findall(r"\.(k\d+) \{ --c:", text))


def test_two_data_sets_stand_apart(runs):
    shutil.copytree(runs, runs.parent / "copy")
    for result in (runs.parent / "copy").glob("*/seed-0/result.json"):
        edit(result, dataset="other", asked={"manifest": "another"})
    page = render_page(runs.parent)
    assert "Predictions: scenes" in page.text and "Predictions: other" in page.text


def test_a_student_is_compared_with_the_baseline_of_its_budget(runs):
    for name, budget in (("less", {"semseg": 8, "depth": 8}), ("same", {"semseg": 8, "depth": 16})):
        shutil.copytree(runs / "student/seed-0", runs / name / "seed-0")
        edit(runs / name / "seed-0/result.json", experiment=name, pseudo_labels={}, budget=budget)
    (part,) = collect([runs]).parts
    ((student, baseline),) = baseline_pairs(part.groups, "semseg", Paper())
    assert (student.name, baseline.name) == ("student", "same")
    assert baseline_pairs([student], "semseg", Paper()) == []
    ((_, baseline),) = baseline_pairs(part.groups, "semseg", Paper(comparisons=(("student", "less"),)))
    assert baseline.name == "less", "the paper's choice comes first"
    assert "where student and same say different classes" in render_page(runs).text


class Three(Tiny):
    """Frames of three tasks."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        normals = np.zeros((32, 64, 3), np.float32)
        normals[4:, :, 2] = -1
        frame.labels["normals"] = normals
        return frame


@pytest.mark.parametrize("flip", ["false", "true"])
def test_a_third_task_joins_everywhere(tmp_path, flip):
    """With ``flip`` its labels have a confidence, which is not a softmax of classes."""
    pack(Three(train=6, val=2, tasks=(SEMSEG, DEPTH, NORMALS)), tmp_path / "data", samples_per_shard=6)
    base = f"data: {{name: three, path: {tmp_path / 'data'}, num_workers: 0}}\n"
    base += "model: {backbone: test_efficientnet, widths: [8, 8, 16, 16]}\n"
    base += (
        "train: {global_batch_size: 2, steps: 2, log_every: 1}\nevaluate: {every: 1}\ntasks: [semseg, depth, normals]\n"
    )
    base += f"label: {{flip: {flip}}}\nlabels: {{normals: 2}}\nrun: {{root: {tmp_path / 'runs'}}}\n"
    (tmp_path / "teacher.yaml").write_text(base)
    student = "pseudo:\n  normals: {teacher: teacher.yaml, keep: all}\n"
    (tmp_path / "student.yaml").write_text(base + student)
    run(Experiment(tmp_path / "student.yaml"))
    page = render_page(tmp_path / "runs")
    assert "teacher labels normals" in page.text and "mean °" in page.text
    assert re.search(r"teacher labels normals\s+.*\s+Against the truth, at all pixels: mean °", page.text)
    assert any(image["alt"] == "What the colours of normals mean" for image in page.all("img"))
    assert "normals: where student and teacher differ by more than 22.5°" in page.text
