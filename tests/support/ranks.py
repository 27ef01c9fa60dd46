"""Real ranks for tests: ``accelerate launch`` on one machine, and an end to them that leaves no process behind.

The launcher starts each rank in a session of its own, and ranks outlive a launcher that is killed; so all of them, and
the loader workers that they start, carry a mark in their environment by which they are found.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from warm import python

_MARK = "TUTELAGE_TEST_RANKS"


def free_port() -> int:
    """A port that nobody listens on; the one that accelerate prefers may be taken."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


class Ranks(subprocess.Popen[str]):
    """A launcher and its ranks, with their outputs piped.

    Args:
        ranks: how many, one thread each.
        words: a script and its arguments, or ``-m`` and a module.
        config: of accelerate (its ``--config_file``); without one, plain data parallel on the CPU.
        env: what the environment holds besides this process's.
        warm: have launcher and ranks forked (:mod:`warm`); not where ranks are looked for, to be killed.
    """

    def __init__(
        self,
        ranks: int,
        *words: str,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        warm: bool = False,
    ) -> None:
        port = str(free_port())
        self.mark = f"{os.getpid()}-{port}"
        executable = python() if warm else sys.executable
        call = [executable, "-m", "accelerate.commands.launch"]
        words = ("--no_python", executable, *words) if warm else words
        if config:
            call += ["--config_file", str(config)]
        elif ranks > 1:  # accelerate refuses it for a single one
            call += ["--multi_gpu"]
        call += ["--num_processes", str(ranks), "--main_process_port", port, *words]
        inherited = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
        chosen = {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", _MARK: self.mark}
        if not config:
            chosen["ACCELERATE_USE_CPU"] = "true"
        environment = inherited | chosen | dict(env or {})
        pipe = subprocess.PIPE
        super().__init__(call, env=environment, text=True, stdout=pipe, stderr=pipe, start_new_session=True)

    def members(self) -> Iterator[psutil.Process]:
        """The launcher, the ranks and what they started, as far as they live."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark:
                    yield process

    def end(self) -> None:
        """``kill -9`` to all of them, until nobody is left who could start another."""
        while members := list(self.members()):
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs([process for process in members if process.pid != self.pid], timeout=5)
        self.wait()


def start(ranks: int, *words: str, config: Path | None = None, env: Mapping[str, str] | None = None) -> Ranks:
    """Ranks that run while the test does something to them; it calls :meth:`Ranks.end` when it is done."""
    return Ranks(ranks, *words, config=config, env=env)


def launch(
    ranks: int, *words: str, config: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 180
) -> subprocess.CompletedProcess[str]:
    """Run ranks to their end, as :func:`subprocess.run` does.

    Raises:
        subprocess.TimeoutExpired: after ``timeout`` seconds, with what the ranks said as a note; none of them lives on.
    """
    process = Ranks(ranks, *words, config=config, env=env, warm=True)
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        process.end()
        error.add_note("\n".join(process.communicate()))
        raise
    finally:
        process.end()
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)
