"""The jobs that pipeline.sh submits, and those that it does not."""

import shlex
import shutil

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
def pipeline_site(site: Site) -> Site:
    """A site with an experiment of ROWS."""
    rows = ["\t".join((*row[:3], "-", row[3], CONFIG, "seed=1")) for row in ROWS]
    (site.folder / "rows").write_text("\n".join(rows))
    site.answer("tutelage", f'[ "$4" != status ] || cat {site.folder}/rows')
    return site


def test_a_machine_without_slurm_is_told_what_to_do(pipeline_site: Site):
    for name in ("squeue", "sbatch"):
        (pipeline_site.folder / "bin" / name).unlink()
    for name in ("bash", "dirname", "awk", "sed", "cut", "cat"):  # this machine may have Slurm among them
        (pipeline_site.folder / "bin" / name).symlink_to(str(shutil.which(name)))
    process = pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1", PATH=f"{pipeline_site.folder}/bin")
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("tutelage: squeue: not found: ") and line.endswith(f"tutelage run {CONFIG} seed=1")
    assert pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1", "--dry-run").returncode == 0


def submitted(site: Site) -> dict[str, list[str]]:
    """The calls of sbatch by script."""
    scripts = [next(word for word in call if word.endswith(".sh")) for call in site.calls("sbatch")]
    return {script[6:-3]: call for script, call in zip(scripts, site.calls("sbatch"), strict=True)}


def queue(site: Site, **jobs: int) -> None:
    folders = {script: f"{site.folder}/{folder}" for script, _, folder, _ in ROWS}
    lines = [f"{number} tutelage {script} {folders[script]}" for script, number in jobs.items()]
    site.answer("squeue", "cat <<'END'\n" + "\n".join(["7 (null)", *lines]) + "\nEND")


def test_a_job_waits_for_those_before_it_and_knows_nothing_of_where_it_was_submitted(pipeline_site: Site):
    """For example on a login node without GPUs, or inside another job."""
    pipeline_site.answer("sbatch", 'env >"$CALLS.env"; echo "$((100 + $(grep -c "^sbatch" "$CALLS")));here"')
    job_variables = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_GPUS_ON_NODE": "4", "SLURM_RESTART_COUNT": "2"}
    process = pipeline_site.run(
        "slurm/pipeline.sh", CONFIG, "seed=1", SUBMIT="--dependency=singleton", SLURM_CONF="/c", **job_variables
    )
    assert process.returncode == 0, process.stderr
    calls = submitted(pipeline_site)
    assert list(calls) == ["teacher", "label", "student", "evaluate"]
    dependencies = [[word for word in call if word.startswith("--dependency=afterok")] for call in calls.values()]
    assert dependencies == [
        [],
        ["--dependency=afterok:101"],
        ["--dependency=afterok:102"],
        ["--dependency=afterok:103"],
    ]
    label = calls["label"]
    assert label.index("--dependency=singleton") < label.index("--dependency=afterok:101")
    names = {line.partition("=")[0] for line in (pipeline_site.folder / "calls.env").read_text().splitlines()}
    assert "SLURM_CONF" in names
    assert not names & {*job_variables, "RANKS_PER_NODE", "OMP_NUM_THREADS", "ENGINE", "DRY_RUN"}


def test_what_is_queued_is_not_submitted_again(pipeline_site: Site):
    queue(pipeline_site, teacher=50, label=51)
    output = pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1").stdout
    assert output.count("submitted before") == 2
    assert list(submitted(pipeline_site)) == ["student", "evaluate"]
    assert "--dependency=afterok:51" in submitted(pipeline_site)["student"]
    states = next(word for word in pipeline_site.calls("squeue")[0] if word.startswith("--states"))
    assert "SUSPENDED" in states


def test_another_seed_is_another_job(pipeline_site: Site):
    folder = f"{pipeline_site.folder}/{ROWS[1][2]}"
    pipeline_site.answer("squeue", f"echo 50 tutelage teacher {folder}0")  # seed-10
    pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1")
    assert "teacher" in submitted(pipeline_site)


def test_what_waits_for_a_cancelled_job_is_submitted_anew(pipeline_site: Site):
    """Slurm cancels dependent jobs only after a while."""
    queue(pipeline_site, label=51, student=52, evaluate=53)
    pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1")
    assert list(submitted(pipeline_site)) == ["teacher", "label", "student", "evaluate"]


@pytest.mark.parametrize("state", ["other settings", "other data"])
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_run_with_other_settings_is_told_before_anything_is_submitted(
    pipeline_site: Site, options: list[str], state: str
):
    """Here that of the teacher; its jobs and the student's would all fail."""
    reason = "train.lr: holds a run with 0.1, not 0.5"
    rows = (pipeline_site.folder / "rows").read_text().splitlines()
    rows[1:3] = [row.replace("pending", state).replace("\t-\t", f"\t{reason}\t") for row in rows[1:3]]
    (pipeline_site.folder / "rows").write_text("\n".join(rows))
    process = pipeline_site.run("slurm/pipeline.sh", CONFIG, "seed=1", *options)
    assert process.returncode == 1 and not pipeline_site.calls("sbatch")
    assert process.stderr.count(f"tutelage: runs/mmmt-d/seed-1: {reason}\n") == 1 and not process.stdout
    assert "nothing is submitted: give another run.root" in process.stderr


def test_a_dry_run_can_be_typed(pipeline_site: Site):
    output = pipeline_site.run("slurm/pipeline.sh", CONFIG, "labels={semseg: 8}", "--dry-run").stdout
    srun = next(shlex.split(line) for line in output.splitlines() if line.strip().startswith("srun"))
    assert srun[1:3] == ["bash", "-c"] and srun[3].startswith("exec $CONTAINER accelerate launch")
    assert not pipeline_site.calls("sbatch") and not pipeline_site.calls("squeue")


def test_it_can_be_called_from_anywhere(pipeline_site: Site, tmp_path):
    (tmp_path / "mine.yaml").touch()
    process = pipeline_site.run(str(pipeline_site.folder / "slurm/pipeline.sh"), "mine.yaml", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert f"{tmp_path}/mine.yaml" in pipeline_site.calls("tutelage")[0]


@pytest.mark.parametrize(("name", "value"), [("ENGINE", "zero9"), ("RANKS_PER_NODE", "0"), ("RANKS_PER_NODE", "all")])
def test_bad_settings_are_told_before_anything_is_submitted(pipeline_site: Site, name: str, value: str):
    process = pipeline_site.run("slurm/pipeline.sh", CONFIG, **{name: value})
    assert process.returncode == 1 and f"{name}={value}" in process.stderr
    assert not pipeline_site.calls("sbatch")
