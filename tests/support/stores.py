"""Stores on this machine, each a server in a process of its own."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any


class Web:
    """A web server that misbehaves as it is told (:mod:`webserver`). A context manager.

    Args:
        folder: whose files it gives.
        control: a file of its own.
    """

    def __init__(self, folder: Path, control: Path) -> None:
        self.folder, self.control = folder, control
        self.tell()
        call = [sys.executable, str(Path(__file__).with_name("webserver.py")), str(folder), str(control)]
        self.process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/{folder.name}"

    def tell(self, **what: Any) -> None:
        """How to behave from now on: ``faults={"train-000000.tar": ["503", "short"]}``, ``delay``, ``user``."""
        draft = self.control.with_suffix(".draft")
        draft.write_text(json.dumps(what))
        draft.replace(self.control)

    def requests(self) -> Counter[str]:
        """How often each name was asked for, and what was done: ``{"MANIFEST.json whole": 1}``."""
        log = self.control.with_name(f"{self.control.name}.log")
        return Counter(log.read_text().splitlines() if log.exists() else [])

    def forget(self) -> None:
        """Begin a new count of requests."""
        self.control.with_name(f"{self.control.name}.log").unlink(missing_ok=True)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
