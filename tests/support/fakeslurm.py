"""A clone whose Slurm and Python are made up: every call is noted, and answered as a test says."""

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
    """A clone, and what is called there.

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
        """Have a command note its call and run a script."""
        path = self.folder / "bin" / name
        note = f'printf "%s\\n" "{name}${{*:+ ${{*@Q}}}}" >>"$CALLS"'
        graph = "\n".join(f'  "job stages {job}") echo {" ".join(stages)}; exit ;;' for job, stages in STAGES.items())
        known = f'case "${{*:4}}" in\n{graph}\nesac\n' if name == "tutelage" else ""
        path.write_text(f"#!/usr/bin/env bash\n{known}{note}\n{script}\n")
        path.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        mine = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "CALLS": f"{self.folder}/calls"}
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**kept, **mine, "CONTAINER": f"{self.folder}/bin/tutelage", **more}

    def run(self, *call: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").write_text("")
        where = cwd or self.folder
        return subprocess.run(
            call, cwd=where, env=self.environment(**env), capture_output=True, text=True, timeout=60, check=False
        )

    def job(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a job script as Slurm's job 9 on one node would. Whatever it calls finds its process number in BATCH."""
        job = {"SLURM_JOB_ID": "9", "SLURM_JOB_NAME": script, "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_NUM_NODES": "1"}
        batch = ("bash", "-c", 'BATCH=$$ exec bash "$@"', "batch", f"slurm/{script}.sh", *arguments)
        return self.run(*batch, **{**job, "SLURM_SUBMIT_DIR": str(self.folder), **env})

    def calls(self, *words: str) -> list[list[str]]:
        """The calls that began with these words, in order."""
        noted = [shlex.split(line) for line in (self.folder / "calls").read_text().splitlines()]
        return [call for call in noted if call[: len(words)] == list(words)]
