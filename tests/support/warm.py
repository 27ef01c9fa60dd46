"""Processes that do not import torch again: a server that has imported it forks them.

Importing everything that training needs takes about four seconds of processor time, and tests start hundreds of
processes. A warm process is a real one, with its own memory, environment, directory and open files; only the imported
modules are shared. Tests of imports, of the environment at start-up, and of kill -9 start cold ones.

:func:`python` returns an executable that replaces this Python (``-m MODULE``, ``-c CODE`` or a script, and arguments).
It makes the server fork a process with the executable's environment, directory and standard files, passes signals on,
and ends with that process's exit status. When it is killed, the process is killed too.
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


def client(path: str, arguments: list[str]) -> int:
    """Make the server fork a process, and wait until it ends."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    data = json.dumps({"words": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}).encode()
    files = array.array("i", [0, 1, 2])
    server.sendmsg([LENGTH.pack(len(data))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(data)
    pid = LENGTH.unpack(_receive_exactly(server, LENGTH.size))[0]
    for signal_number in PASSED_ON:
        signal.signal(signal_number, lambda signal_number, frame: _send(pid, signal_number))
    status = LENGTH.unpack(_receive_exactly(server, LENGTH.size))[0]
    if os.WIFSIGNALED(status):
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError("the other end is gone")
        data += chunk
    return data


class Server:
    """Forks a process for each connection, reports the process's exit status, and kills it if the connection closes."""

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
                    self.on_disconnect(key.fileobj)  # type: ignore[arg-type]

    def end(self) -> None:
        for pid in self.children:
            _send(pid, signal.SIGKILL)

    def fork(self, connection: socket.socket) -> None:
        files = array.array("i")
        try:
            size, ancillary, *_ = connection.recvmsg(LENGTH.size, socket.CMSG_SPACE(3 * 4))
            files.frombytes(ancillary[0][2])
            request = json.loads(_receive_exactly(connection, LENGTH.unpack(size)[0]))
        except (OSError, IndexError, struct.error, EOFError):  # the client was killed
            for file in files:
                os.close(file)
            connection.close()
            return
        pid = os.fork()
        if not pid:
            self.become(request, files)
        for file in files:
            os.close(file)
        self.children[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ)
        with suppress(OSError):  # a closed connection is noticed in serve
            connection.sendall(LENGTH.pack(pid))

    def become(self, request: dict[str, object], files: "array.array[int]") -> None:
        """Run the requested program in the forked process; never returns."""
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
            os.environ.update(request["environment"])  # type: ignore[call-overload]
            os.chdir(str(request["folder"]))
            status = run(list(request["words"]))  # type: ignore[call-overload]
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
            with suppress(KeyError):  # it was closed before
                self.selector.unregister(connection)
            with suppress(OSError):
                connection.sendall(LENGTH.pack(status))
            connection.close()

    def on_disconnect(self, connection: socket.socket) -> None:
        """Kill the process of a client that is gone, for example by kill -9."""
        if connection not in self.children.values():  # reaped in the same iteration
            return
        self.selector.unregister(connection)
        for pid, child_connection in self.children.items():
            if child_connection is connection:
                _send(pid, signal.SIGKILL)


def run(arguments: list[str]) -> int:
    """Do what ``python ARGUMENTS...`` does, and return the exit status."""
    import random
    import runpy
    import threading

    import numpy
    import torch

    seed = int.from_bytes(os.urandom(4), "big")  # as a newly started process has
    random.seed(seed)
    numpy.random.seed(seed)
    torch.seed()
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=bool(os.environ.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        elif arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            sys.path.insert(0, "")
            exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = arguments
            sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))  # noqa: PTH100, PTH120
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as exit_:
        if exit_.code is None or isinstance(exit_.code, int):
            status = exit_.code or 0
        else:
            print(exit_.code, file=sys.stderr)
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
    *("trainer.trainstage", "trainer.evaluatestage", "trainer.pseudolabels.stage", "trainer.engine.zero"),
)
"""Modules that most processes of tests import. None of them starts a thread."""


@cache
def python() -> str:
    """Return the executable's path. The first call starts the server, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    socket_path = folder / "socket"
    command = [sys.executable, __file__, "serve", str(socket_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}  # each process sets its own
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout and "ready\n" in server.stdout, "no server of warm processes"
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import warm\nsys.exit(warm.client({str(socket_path)!r}, sys.argv[1:]))\n"
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
