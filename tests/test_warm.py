"""The server of warm processes: its processes end like others, and killed clients do not end the server."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import warm

CODE = "import sys, time; print('here', flush=True); time.sleep(60)"


def alive() -> str:
    return subprocess.run([warm.python(), "-c", "print('alive')"], capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("code", "status"),
    [("pass", 0), ("import sys; sys.exit(3)", 3), ("raise ValueError", 1), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_a_process_ends_as_its_own_would(code, status):
    assert subprocess.run([warm.python(), "-c", code], capture_output=True, timeout=60).returncode == status


def test_it_has_its_own_environment_folder_arguments_and_files(tmp_path):
    code = "import os, sys; print(os.environ['MINE'], os.getcwd(), sys.argv[1:], sys.stdin.read())"
    call = [warm.python(), "-c", code, "a", "b c"]
    process = subprocess.run(call, env={"MINE": "x"}, cwd=tmp_path, input="given", capture_output=True, text=True)
    assert process.stdout == f"x {tmp_path} ['a', 'b c'] given\n" and not process.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_ends_takes_its_process_along(number):
    process = subprocess.Popen([warm.python(), "-c", f"import os; print(os.getpid(), flush=True); {CODE}"], stdout=-1)
    assert process.stdout
    pid = int(process.stdout.readline())
    process.send_signal(number)
    assert process.wait(10) == -number
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert alive() == "alive\n"


def test_whoever_goes_before_it_has_asked_harms_nobody():
    path = str(Path(warm.python()).with_name("socket"))
    for data in (b"", b"\0\0", warm.LENGTH.pack(1000) + b"{"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(data)
    with socket.socket(socket.AF_UNIX) as partial:
        partial.connect(path)
        files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, (0).to_bytes(4, "little") * 3)]
        partial.sendmsg([warm.LENGTH.pack(1000)], files)
    for _ in range(20):
        process = subprocess.Popen([warm.python(), "-c", CODE], stdout=subprocess.DEVNULL)
        time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert alive() == "alive\n"
