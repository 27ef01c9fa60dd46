"""A clone of the repository on a cluster's shared file system, as a user works with it."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hosts import Cluster


@dataclass
class Clone:
    """A clone of the repository, from which jobs are submitted."""

    folder: Path
    slurm: Cluster

    def submit(self, *words: str) -> str:
        """``sbatch WORDS`` in this clone; returns the job's id."""
        return self.slurm.run("sbatch", "--parsable", *words, cwd=self.folder)

    def run(self, *call: str, check: bool = True, **env: str) -> str:
        """A command on the login node, in this clone."""
        return self.slurm.run(*call, check=check, cwd=self.folder, extra_env=env)

    @staticmethod
    def jobs(output: str) -> dict[str, str]:
        """Job ids by script, parsed from the output of pipeline.sh."""
        return dict(re.findall(r"^ *(\w+) .*: job (\d+)", output, re.MULTILINE))

    def log(self, job: str) -> str:
        """The output of a job, including all of its restarts."""
        return "".join(path.read_text() for path in self.folder.glob(f"*-{job}.out"))

    def finish(self, job: str, limit: float = 240) -> str:
        """Wait for a job that must complete, and return its log."""
        state = self.slurm.ended(job, limit)
        assert state == "COMPLETED", f"{state}: {self.log(job)}"
        return self.log(job)

    def launch(self, ranks: int, *words: str, engine: str = "ddp") -> None:
        """``accelerate launch -m tutelage WORDS`` on the login node."""
        call = ["accelerate", "launch", "--config_file", f"configs/engine/{engine}.yaml"]
        call += ["--num_processes", str(ranks), "--main_process_port", str(29000 + os.getpid() % 1000)]
        self.run(*call, "-m", "tutelage", *words)

    def result(self, run: str) -> dict[str, Any]:
        return json.loads((self.folder / run / "result.json").read_text())

    def until(self, condition: Callable[[], bool], limit: float = 120) -> None:
        deadline = time.monotonic() + limit
        while not condition():
            logs = "\n".join(path.read_text() for path in self.folder.glob("*.out"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.1)
