"""Real ranks for tests: ``accelerate launch`` on one machine, and a way to end them that leaves no process behind.

The launcher starts each rank in a session of its own, and ranks outlive a launcher that is killed; so all of them, and
the loader workers that they start, have a mark in their environment by which they are found.
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
    """Return an unused port; accelerate's default port may be in use."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


class Ranks(subprocess.Popen[str]):
    """A launcher and its ranks, with their outputs piped.

    Args:
        ranks: number of ranks, with one thread each.
        words: a script and its arguments, or ``-m`` and a module.
        config: configuration of accelerate (``--config_file``); without one, DDP on the CPU.
        env: variables that are added to this process's environment.
        warm: fork launcher and ranks (:mod:`warm`); not for tests that look for ranks to kill them.
    """

    def __init__(
        self,
        ranks: int,
        *arguments: str,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        warm: bool = False,
    ) -> None:
        port = str(free_port())
        self.mark = f"{os.getpid()}-{port}"
        executable = python() if warm else sys.executable
        command = [executable, "-m", "accelerate.commands.launch"]
        arguments = ("--no_python", executable, *arguments) if warm else arguments
        if config:
            command += ["--config_file", str(config)]
        elif ranks > 1:  # accelerate refuses it for a single rank
            command += ["--multi_gpu"]
        command += ["--num_processes", str(ranks), "--main_process_port", port, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
        variables = {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", _MARK: self.mark}
        if not config:
            variables["ACCELERATE_USE_CPU"] = "true"
        environment = inherited | variables | dict(env or {})
        pipe = subprocess.PIPE
        super().__init__(command, env=environment, text=True, stdout=pipe, stderr=pipe, start_new_session=True)

    def members(self) -> Iterator[psutil.Process]:
        """Yield the launcher, the ranks and their child processes, those that are alive."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark:
                    yield process

    def end(self) -> None:
        """Send ``kill -9`` to all of them, until none is left that could start another."""
        while members := list(self.members()):
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs([process for process in members if process.pid != self.pid], timeout=5)
        self.wait()


def start(ranks: int, *arguments: str, config: Path | None = None, env: Mapping[str, str] | None = None) -> Ranks:
    """Start ranks and return while they run; the test calls :meth:`Ranks.end` when it is done."""
    return Ranks(ranks, *arguments, config=config, env=env)


def launch(
    ranks: int, *arguments: str, config: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 180
) -> subprocess.CompletedProcess[str]:
    """Run ranks to their end, as :func:`subprocess.run` does.

    Raises:
        subprocess.TimeoutExpired: after ``timeout`` seconds, with the ranks' output as a note; all of them are ended.
    """
    process = Ranks(ranks, *arguments, config=config, env=env, warm=True)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        process.end()
        error.add_note("\n".join(process.communicate()))
        raise
    finally:
        process.end()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
