"""A clone with fake Slurm and Python commands, which record their calls and answer as a test defines."""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trainer.pipeline import STAGES

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = {
    "tutelage": "",  # stands before `python ...` and `accelerate ...`
    "srun": 'while [[ $1 = -* ]]; do shift; done; SLURM_NODEID=0 "$@"',
    "sbatch": 'echo "$((100 + $(grep -c "^sbatch" "$CALLS")))"',
    "squeue": "",
    "scontrol": '[ "$2" != hostnames ] || echo node1',
    "sleep": 'exec /usr/bin/sleep "0$([ "$1" = 5 ] || [ "$1" = 10 ] || echo "$1")"',
}


@dataclass
class Site:
    """A clone, and the commands that were called in it.

    Attributes:
        folder: the clone's root.
    """

    folder: Path

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "slurm", self.folder / "slurm", ignore=shutil.ignore_patterns("site.env"))
        (self.folder / "configs").symlink_to(ROOT / "configs")
        (self.folder / "bin").mkdir()
        for name, script in ANSWERS.items():
            self.answer(name, script)

    def answer(self, name: str, script: str) -> None:
        """Define a command: it records its call and runs a script."""
        path = self.folder / "bin" / name
        record_call = f'printf "%s\\n" "{name}${{*:+ ${{*@Q}}}}" >>"$CALLS"'
        cases = "\n".join(f'  "job stages {job}") echo {" ".join(stages)}; exit ;;' for job, stages in STAGES.items())
        stage_answers = f'case "${{*:4}}" in\n{cases}\nesac\n' if name == "tutelage" else ""
        path.write_text(f"#!/usr/bin/env bash\n{stage_answers}{record_call}\n{script}\n")
        path.chmod(0o755)

    def environment(self, **variables: str) -> dict[str, str]:
        site_variables = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "CALLS": f"{self.folder}/calls"}
        inherited = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**inherited, **site_variables, "CONTAINER": f"{self.folder}/bin/tutelage", **variables}

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").write_text("")
        folder = cwd or self.folder
        return subprocess.run(
            command, cwd=folder, env=self.environment(**env), capture_output=True, text=True, timeout=60, check=False
        )

    def job(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script as job 9 of Slurm on one node. The commands that it calls find its process id in BATCH."""
        variables = {
            "SLURM_JOB_ID": "9",
            "SLURM_JOB_NAME": script,
            "SLURM_JOB_NODELIST": "node1",
            "SLURM_JOB_NUM_NODES": "1",
        }
        command = ("bash", "-c", 'BATCH=$$ exec bash "$@"', "batch", f"slurm/{script}.sh", *arguments)
        return self.run(*command, **{**variables, "SLURM_SUBMIT_DIR": str(self.folder), **env})

    def calls(self, *prefix: str) -> list[list[str]]:
        """Return the recorded calls that begin with these words, in order."""
        recorded = [shlex.split(line) for line in (self.folder / "calls").read_text().splitlines()]
        return [call for call in recorded if call[: len(prefix)] == list(prefix)]
