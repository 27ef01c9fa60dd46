"""Processes that need not import torch again: a server that has it forks them.

An import of everything that trains takes a process some four seconds of a processor, and tests start hundreds. A warm
process is a real one, with a memory, an environment, a directory and open files of its own; what it shares is what had
been imported. Tests of imports, of the environment at start-up, and of kill -9 start cold ones.

:func:`python` is an executable that stands for this Python (``-m MODULE``, ``-c CODE`` or a script, and arguments): it
has the server fork a process in its own environment, directory and standard files, passes on signals, ends as that one
ends, and takes it along when it is killed.
"""

import array
import atexit
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

LENGTH = struct.Struct("!I")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def client(path: str, words: list[str]) -> int:
    """Have a process forked, and wait for its end."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    data = json.dumps({"words": words, "environment": dict(os.environ), "folder": str(Path.cwd())}).encode()
    files = array.array("i", [0, 1, 2])
    server.sendmsg([LENGTH.pack(len(data))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(data)
    pid = LENGTH.unpack(_exactly(server, LENGTH.size))[0]
    for number in PASSED_ON:
        signal.signal(number, lambda sent, frame: _send(pid, sent))
    status = LENGTH.unpack(_exactly(server, LENGTH.size))[0]
    if os.WIFSIGNALED(status):
        with suppress(OSError):  # of SIGKILL
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the other end is gone")
        data += part
    return data


class Server:
    """Forks a process for each connection, tells it how the process ended, and kills it where the connection ends."""

    def __init__(self, path: str) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen(64)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listening, selectors.EVENT_READ)
        self.woken, self.wake = socket.socketpair()
        self.wake.setblocking(False)
        signal.set_wakeup_fd(self.wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.selector.register(0, selectors.EVENT_READ)  # the tests' process: when it ends, so does the server
        self.children: dict[int, socket.socket] = {}

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == 0:
                    return self.end()
                if key.fileobj is self.listening:
                    self.fork(self.listening.accept()[0])
                elif key.fileobj is self.woken:
                    self.woken.recv(4096)
                    self.reap()
                else:
                    self.abandoned(key.fileobj)  # type: ignore[arg-type]

    def end(self) -> None:
        for pid in self.children:
            _send(pid, signal.SIGKILL)

    def fork(self, connection: socket.socket) -> None:
        files = array.array("i")
        try:
            size, ancillary, *_ = connection.recvmsg(LENGTH.size, socket.CMSG_SPACE(3 * 4))
            files.frombytes(ancillary[0][2])
            wanted = json.loads(_exactly(connection, LENGTH.unpack(size)[0]))
        except (OSError, IndexError, struct.error, EOFError):  # whoever asked was killed
            for file in files:
                os.close(file)
            connection.close()
            return
        pid = os.fork()
        if not pid:
            self.become(wanted, files)
        for file in files:
            os.close(file)
        self.children[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ)
        with suppress(OSError):  # that it is gone is noticed then
            connection.sendall(LENGTH.pack(pid))

    def become(self, wanted: dict[str, object], files: "array.array[int]") -> None:
        """What a forked process does; it never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, *PASSED_ON):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.closerange(3, 4096)
            os.environ.clear()
            os.environ.update(wanted["environment"])  # type: ignore[call-overload]
            os.chdir(str(wanted["folder"]))
            status = run(list(wanted["words"]))  # type: ignore[call-overload]
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(status)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            connection = self.children.pop(pid)
            with suppress(KeyError):  # where it was abandoned
                self.selector.unregister(connection)
            with suppress(OSError):
                connection.sendall(LENGTH.pack(status))
            connection.close()

    def abandoned(self, connection: socket.socket) -> None:
        """Whoever waited is gone, perhaps by kill -9, and takes its process along."""
        if connection not in self.children.values():  # reaped in the same breath
            return
        self.selector.unregister(connection)
        for pid, its in self.children.items():
            if its is connection:
                _send(pid, signal.SIGKILL)


def run(words: list[str]) -> int:
    """What ``python WORDS...`` does, as an exit status."""
    import random
    import runpy
    import threading

    import numpy
    import torch

    seed = int.from_bytes(os.urandom(4), "big")  # as a process of its own would have it
    random.seed(seed)
    numpy.random.seed(seed)
    torch.seed()
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=bool(os.environ.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            sys.path.insert(0, "")
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))  # noqa: PTH100, PTH120
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            status = end.code or 0
        else:
            print(end.code, file=sys.stderr)
            status = 1
    else:
        status = 0
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    return status


PRELOADED = (
    *(
        "torch._dynamo",
        "torch.distributed.run",
        "timm",
        "accelerate.commands.launch",
        "webdataset",
        "matplotlib.pyplot",
    ),
    *("deepspeed", "transformers", "launchers.cli", "launchers.experiment", "launchers.prepare", "launchers.stage"),
    *("trainer.trainstage", "trainer.evaluate", "trainer.pseudolabels.labelling", "trainer.engine.zero"),
)
"""What most processes of tests import. Nothing of it starts a thread."""


@cache
def python() -> str:
    """The executable. Its server is started with the first, and ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    place = folder / "socket"
    call = [sys.executable, __file__, "serve", str(place)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}  # which a process says for itself
    server = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout and "ready\n" in server.stdout, "no server of warm processes"
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import warm\nsys.exit(warm.client({str(place)!r}, sys.argv[1:]))\n"
    )
    script.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _servers.append(server)
    return str(script)


_servers: list[subprocess.Popen[str]] = []


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        for name in PRELOADED:
            with suppress(ImportError):  # an extra that is not installed
                importlib.import_module(name)
        server = Server(sys.argv[2])
        print("ready", flush=True)
        server.serve()
