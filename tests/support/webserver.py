"""A web server in its own process, which serves the files of a folder with configurable faults.

    webserver.py FOLDER CONTROL

Prints its port. ``CONTROL`` is a JSON file that is read for every request: ``{"faults": {NAME: [FAULT, ...]}, "delay":
SECONDS, "user": "name:password", "head": BYTES}``. The faults of a name are used up one after another, ``"*"`` is any
name; a fault that ends in ``!`` stays. ``503``, ``404`` and other numbers: that status. ``short``: the connection ends
in the middle of the body. ``corrupt``: one byte is changed. ``stall``: nothing is sent after the middle. ``slow``: a
pause of half a second in the middle. ``page``: a page for people. ``long``: bytes without end. ``head`` is the size
that HEAD requests report of shards. Every request is a line of ``CONTROL.log``: the name, and the fault or ``whole``.
"""

import base64
import json
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGE = b"<!DOCTYPE html><title>Sign in</title>"
_positions: dict[str, int] = {}
_lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, control: Path, *arguments) -> None:
        self.folder, self.control = folder, control
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        behaviour = json.loads(self.control.read_text())
        name = unquote(urlsplit(self.path).path).rpartition("/")[2]
        fault = self.fault(behaviour.get("faults", {}), name) if body else ""
        time.sleep(behaviour.get("delay", 0))
        if user := behaviour.get("user"):
            expected = "Basic " + base64.b64encode(user.encode()).decode()
            if self.headers.get("Authorization") != expected:
                fault = "401"
        file = self.folder / name
        if not file.is_file():
            fault = "404"
        if body:
            with _lock, self.control.with_name(f"{self.control.name}.log").open("a") as log:
                log.write(f"{name} {fault or 'whole'}\n")
        if fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = bytearray(PAGE if fault == "page" else file.read_bytes())
        size = len(data) if body or not name.endswith(".tar") else behaviour.get("head", len(data))
        self.send_response(200)
        self.send_header("Content-Length", str(10**12 if fault == "long" else size))
        self.end_headers()
        if not body:
            return
        half = len(data) // 2
        if fault == "corrupt":
            data[half] ^= 1
        self.wfile.write(data[:half])
        self.wfile.flush()
        if fault == "slow":
            time.sleep(0.5)
        if fault == "stall":
            time.sleep(600)
        if fault in ("short", "stall"):
            self.close_connection = True
            return
        self.wfile.write(data[half:])
        while fault == "long":  # until the client closes the connection
            self.wfile.write(bytes(1 << 20))

    def fault(self, faults: dict[str, list[str]], name: str) -> str:
        key = name if name in faults else "*"
        sequence = faults.get(key, [])
        with _lock:
            position = _positions.get(key, 0)
            if position >= len(sequence):
                return ""
            if not sequence[position].endswith("!"):
                _positions[key] = position + 1
        return sequence[position].rstrip("!")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:  # the client is gone
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), partial(Handler, Path(sys.argv[1]), Path(sys.argv[2])))
    print(server.server_port, flush=True)
    server.serve_forever()
