"""The outcome of a job for every answer of its launches and of Slurm, and for a stop signal at any time."""

import re

import pytest
from fakeslurm import Site

RUNNING = "JobId=9 JobName=x JobState=RUNNING Dependency=(null) Requeue=1 Restarts=0"
SIGNAL = "kill -USR1 $BATCH; sleep 0.2"


def tutelage(site: Site, *, status: str = ":", begin: str = "echo start", launch: str = ":", end: str = "echo again"):
    """Set what the commands of a job do and print."""
    site.answer(
        "tutelage",
        f"""case "$1 $4 ${{5:-}}" in
  "python status "*) {status}; printf 'prepare\\tfinished\\tdata/scenes\\tscenes\\t-\\tx.yaml\\n' ;;
  "python job begin") {begin} ;;
  "python job end") {end} ;;
  accelerate*) {launch} ;;
esac""",
    )


def scontrol(site: Site, *lines: str, requeue: str = ":") -> None:
    output = "\n".join(lines)
    site.answer(
        "scontrol",
        f"""case "$1 $2" in
  "show hostnames") echo node1 ;;
  "show job") cat <<'END'
{output}
END
    ;;
  requeue*) {requeue} ;;
esac""",
    )


def test_a_launch_that_is_to_be_done_again_is_queued_again(site: Site):
    tutelage(site)
    scontrol(site, RUNNING)
    process = site.job("student", "x.yaml", "labels={semseg: 8}")
    assert process.returncode == 0 and "tutelage: student x.yaml 'labels={semseg: 8}'" in process.stdout
    assert site.calls("srun")[0][-2:] == ["x.yaml", "labels={semseg: 8}"]
    assert site.calls("scontrol", "requeue") == [["scontrol", "requeue", "9"]]


def test_a_task_of_an_array_queues_itself_and_no_other(site: Site):
    """The last task has the id of the array itself, under which Slurm shows and queues all tasks."""
    tutelage(site)
    array = [
        f"JobId={job} ArrayJobId=9 ArrayTaskId={task} JobState=RUNNING Requeue=1 X" for job, task in ((11, 2), (9, 3))
    ]
    scontrol(site, *array)
    assert site.job("label", "x.yaml").returncode == 0
    assert site.calls("scontrol", "requeue") == [["scontrol", "requeue", "9_3"]]


@pytest.mark.parametrize("state", ["CANCELLED", "PENDING", "COMPLETING"])
def test_a_job_that_is_ended_from_outside_stays_away(site: Site, state: str):
    tutelage(site)
    scontrol(site, RUNNING.replace("RUNNING", state))
    assert site.job("student", "x.yaml").returncode == 1
    assert not site.calls("scontrol", "requeue")


def test_a_controller_that_is_away_for_a_moment_is_asked_again(site: Site):
    tutelage(site)
    scontrol(site, RUNNING, requeue='[ "$(grep -c "^scontrol .requeue" "$CALLS")" -gt 2 ]')
    assert site.job("student", "x.yaml").returncode == 0
    assert len(site.calls("scontrol", "requeue")) == 3


def test_a_job_that_cannot_be_queued_again_says_so(site: Site):
    tutelage(site)
    scontrol(site, RUNNING.replace("Requeue=1", "Requeue=0"))
    process = site.job("student", "x.yaml")
    assert process.returncode == 1 and "submit it again" in process.stderr
    assert not site.calls("scontrol", "requeue")


@pytest.mark.parametrize("when", ["status", "begin", "end"])
def test_a_signal_between_launches_is_not_forgotten(site: Site, when: str):
    """While a job script calls ``tutelage job``, no rank is running that could receive the signal."""
    tutelage(site, **{when: f"{SIGNAL}; echo {'again' if when == 'end' else 'start'}"})
    scontrol(site, RUNNING)
    assert site.job("teacher", "x.yaml").returncode == 0
    assert site.calls("scontrol", "requeue")
    assert bool(site.calls("tutelage", "accelerate")) == (when == "end")


def test_a_signal_while_data_are_prepared(site: Site):
    row = "printf 'prepare\\tpending\\tdata/scenes\\tscenes\\t-\\tx.yaml\\n'"
    site.answer("tutelage", f"case $4 in status) {SIGNAL}; {row} ;; prepare) sleep 60 ;; esac")
    scontrol(site, RUNNING)
    assert site.job("prepare", "x.yaml").returncode == 0
    assert site.calls("scontrol", "requeue")


def test_a_question_that_is_ended_with_the_job_is_no_failure(site: Site):
    tutelage(site, begin="kill -TERM $BATCH; sleep 0.2; kill -TERM $$")
    scontrol(site, RUNNING)
    assert site.job("student", "x.yaml").returncode == 0
    assert site.calls("scontrol", "requeue")


def test_a_signal_reaches_the_ranks(site: Site):
    tutelage(site, launch=f"{SIGNAL}; while [ ! -e stopped ]; do sleep 0.1; done")
    steps = 'while [[ $1 = -* ]]; do shift; done; case "$*" in *"job stop") env >stopped ;; *) "$@" ;; esac'
    site.answer("srun", steps)
    scontrol(site, RUNNING)
    assert site.job("student", "x.yaml", SLURM_GPUS_PER_NODE="1", SLURM_GPUS="1").returncode == 0
    assert "SLURM_GPUS" not in (site.folder / "stopped").read_text(), "Slurm refuses a step with them and no GPU"
    stop = site.calls("srun")[1]
    assert {"--overlap", "--export=ALL", "--gres=none", "--ntasks=1"} <= set(stop)


def test_one_launcher_a_node_whatever_the_job_asked_for(site: Site):
    tutelage(site, end="echo finished")
    variables = {
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    assert site.job("student", "x.yaml", **variables, SLURM_EXPORT_ENV="NONE").returncode == 0
    (launch,) = site.calls("srun")
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--export=ALL"} <= set(launch)
    assert launch[launch.index("--num_processes") + 1] == "8"


def test_one_process_too_is_launched_with_the_engine_that_was_asked_for(site: Site):
    """Not with a user's accelerate configuration for other work; the engine's launcher also forwards SIGTERM."""
    tutelage(site, end="echo finished")
    assert site.job("student", "x.yaml", SLURM_GPUS_ON_NODE="1").returncode == 0
    assert "configs/engine/ddp.yaml" in site.calls("srun")[0]


def test_a_job_is_never_dry(site: Site):
    tutelage(site, end="echo finished")
    site.job("student", "x.yaml", DRY_RUN="1")
    assert site.calls("srun")


def test_settings_of_a_site_may_name_what_is_not_set(site: Site):
    (site.folder / "slurm/site.env").write_text('export LD_PATH="$NO_SUCH_VARIABLE:/opt"\nSTORAGE=/store\n')
    tutelage(site, end="echo finished")
    assert site.job("student", "x.yaml").returncode == 0
    assert "run.root=/store/runs" in site.calls("srun")[0]


def test_every_setting_of_the_example_is_one(site: Site):
    lines = (site.folder / "slurm/site.env.example").read_text().splitlines()
    settings = [line[2:] for line in lines if re.match(r"# (export )?[A-Z_]+=", line)]
    assert len(settings) > 15
    (site.folder / "slurm/site.env").write_text(
        "\n".join(setting for setting in settings if "CONTAINER" not in setting)
    )
    tutelage(site, end="echo finished")
    assert site.job("student", "x.yaml", USER="ada").returncode == 0
    (launch,) = site.calls("srun")
    assert launch[launch.index("--num_processes") + 1] == "8" and "run.root=/scratch/ada/tutelage/runs" in launch


def test_a_job_that_was_submitted_elsewhere_says_where_to(site: Site, tmp_path):
    process = site.job("student", "x.yaml", SLURM_SUBMIT_DIR=str(tmp_path))
    assert process.returncode == 1 and process.stderr.splitlines() == [
        "tutelage: submit it in the folder that holds slurm/"
    ]
