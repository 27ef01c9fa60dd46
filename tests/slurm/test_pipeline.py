"""What pipeline.sh submits, and what it does not."""

import shlex

import pytest
from fakeslurm import Site

CONFIG = "configs/scenes/ummt-ps.yaml"
ROWS = [
    ("prepare", "finished", "data/scenes", "-"),
    ("teacher", "pending", "runs/mmmt-d/seed-1", "0"),
    ("label", "pending", "runs/mmmt-d/seed-1", "1"),
    ("student", "pending", "runs/ummt-ps/seed-1", "0,2"),
    ("evaluate", "pending", "runs/ummt-ps/seed-1", "3"),
]


@pytest.fixture
def planned(site: Site) -> Site:
    """A site with an experiment of ROWS."""
    rows = ["\t".join((*row[:3], "-", row[3], CONFIG, "seed=1")) for row in ROWS]
    (site.folder / "rows").write_text("\n".join(rows))
    site.answer("tutelage", f'[ "$4" != status ] || cat {site.folder}/rows')
    return site


def submitted(site: Site) -> dict[str, list[str]]:
    """The calls of sbatch by script."""
    scripts = [next(word for word in call if word.endswith(".sh")) for call in site.calls("sbatch")]
    return {script[6:-3]: call for script, call in zip(scripts, site.calls("sbatch"), strict=True)}


def queue(site: Site, **jobs: int) -> None:
    folders = {script: f"{site.folder}/{folder}" for script, _, folder, _ in ROWS}
    lines = [f"{number} tutelage {script} {folders[script]}" for script, number in jobs.items()]
    site.answer("squeue", "cat <<'END'\n" + "\n".join(["7 (null)", *lines]) + "\nEND")


def test_a_job_waits_for_those_before_it_and_knows_nothing_of_where_it_was_submitted(planned: Site):
    """Such as a login node without GPUs, or another job."""
    planned.answer("sbatch", 'env >"$CALLS.env"; echo "$((100 + $(grep -c "^sbatch" "$CALLS")));here"')
    leaks = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_GPUS_ON_NODE": "4", "SLURM_RESTART_COUNT": "2"}
    done = planned.run("slurm/pipeline.sh", CONFIG, "seed=1", SUBMIT="--dependency=singleton", SLURM_CONF="/c", **leaks)
    assert done.returncode == 0, done.stderr
    calls = submitted(planned)
    assert list(calls) == ["teacher", "label", "student", "evaluate"]
    waits = [[word for word in call if word.startswith("--dependency=afterok")] for call in calls.values()]
    assert waits == [[], ["--dependency=afterok:101"], ["--dependency=afterok:102"], ["--dependency=afterok:103"]]
    label = calls["label"]
    assert label.index("--dependency=singleton") < label.index("--dependency=afterok:101")
    names = {line.partition("=")[0] for line in (planned.folder / "calls.env").read_text().splitlines()}
    assert "SLURM_CONF" in names
    assert not names & {*leaks, "RANKS_PER_NODE", "OMP_NUM_THREADS", "ENGINE", "DRY_RUN"}


def test_what_is_queued_is_not_submitted_again(planned: Site):
    queue(planned, teacher=50, label=51)
    said = planned.run("slurm/pipeline.sh", CONFIG, "seed=1").stdout
    assert said.count("submitted before") == 2
    assert list(submitted(planned)) == ["student", "evaluate"]
    assert "--dependency=afterok:51" in submitted(planned)["student"]
    states = next(word for word in planned.calls("squeue")[0] if word.startswith("--states"))
    assert "SUSPENDED" in states


def test_another_seed_is_another_job(planned: Site):
    folder = f"{planned.folder}/{ROWS[1][2]}"
    planned.answer("squeue", f"echo 50 tutelage teacher {folder}0")  # seed-10
    planned.run("slurm/pipeline.sh", CONFIG, "seed=1")
    assert "teacher" in submitted(planned)


def test_what_waits_for_a_cancelled_job_is_submitted_anew(planned: Site):
    """Slurm takes a while to cancel those that waited."""
    queue(planned, label=51, student=52, evaluate=53)
    planned.run("slurm/pipeline.sh", CONFIG, "seed=1")
    assert list(submitted(planned)) == ["teacher", "label", "student", "evaluate"]


def test_a_dry_run_can_be_typed(planned: Site):
    said = planned.run("slurm/pipeline.sh", CONFIG, "labels={semseg: 8}", "--dry-run").stdout
    srun = next(shlex.split(line) for line in said.splitlines() if line.strip().startswith("srun"))
    assert srun[1:3] == ["bash", "-c"] and srun[3].startswith("exec $CONTAINER accelerate launch")
    assert not planned.calls("sbatch") and not planned.calls("squeue")


def test_it_can_be_called_from_anywhere(planned: Site, tmp_path):
    (tmp_path / "mine.yaml").touch()
    done = planned.run(str(planned.folder / "slurm/pipeline.sh"), "mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/mine.yaml" in planned.calls("tutelage")[0]


@pytest.mark.parametrize(("name", "value"), [("ENGINE", "zero9"), ("RANKS_PER_NODE", "0"), ("RANKS_PER_NODE", "all")])
def test_bad_settings_are_told_before_anything_is_submitted(planned: Site, name: str, value: str):
    done = planned.run("slurm/pipeline.sh", CONFIG, **{name: value})
    assert done.returncode == 1 and f"{name}={value}" in done.stderr
    assert not planned.calls("sbatch")
