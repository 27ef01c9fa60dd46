"""The graph of an experiment's jobs."""

import subprocess
import sys

from trainer.experiment import Experiment
from trainer.pipeline import STAGES, jobs, networks, teachers_of


def shape(experiment: Experiment) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(job.name, job.experiment.config.experiment, job.after) for job in jobs(experiment)]


def test_a_student_waits_for_labels_and_a_teacher_for_data(make):
    assert shape(make("student")) == [
        ("prepare", "student", ()),
        ("teacher", "teacher", (0,)),
        ("label", "teacher", (1,)),
        ("student", "student", (0, 2)),
        ("evaluate", "student", (3,)),
    ]
    assert shape(make("plain")) == [("prepare", "plain", ()), ("student", "plain", (0,)), ("evaluate", "plain", (1,))]


def test_a_teacher_of_teachers_is_there_once(make, configs, tmp_path):
    """``second`` learns from ``teacher``, and the last student from both."""
    (tmp_path / "second.yaml").write_text(f"inherits: {configs / 'student.yaml'}\n")
    depth = f"inherits: {configs / 'base.yaml'}\ninputs: [rgb, semseg]\nlabels: {{semseg: 16, depth: 8}}\n"
    (tmp_path / "depth.yaml").write_text(depth)
    last = make("student", f"pseudo.semseg.teacher={tmp_path / 'second.yaml'}", "experiment=last")
    last = Experiment(last.path, [*last.overrides, f"pseudo.depth.teacher={tmp_path / 'depth.yaml'}"])
    assert [network.config.experiment for network in networks(last)] == ["teacher", "second", "depth", "last"]
    assert [network.config.experiment for network in teachers_of(last)] == ["second", "depth"]
    assert shape(last)[-2:] == [("student", "last", (0, 4, 6)), ("evaluate", "last", (7,))]


def test_a_circle_ends(configs, tmp_path):
    for name, other in (("one", "two"), ("two", "one")):
        text = f"inherits: {configs / 'base.yaml'}\npseudo: {{semseg: {{teacher: {other}.yaml}}}}"
        (tmp_path / f"{name}.yaml").write_text(text)
    assert len(jobs(Experiment(tmp_path / "one.yaml", [f"run.root={tmp_path}"]))) < 9


def test_every_job_comes_after_what_it_waits_for_and_has_a_script(make):
    for number, job in enumerate(jobs(make("student"))):
        assert all(before < number for before in job.after) and job.stages == STAGES[job.name]


def test_a_job_script_is_told_its_stages():
    command = [sys.executable, "-m", "tutelage", "job", "stages"]
    assert subprocess.run([*command, "teacher"], capture_output=True, text=True).stdout == "train evaluate\n"
