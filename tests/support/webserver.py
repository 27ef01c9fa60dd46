"""A web server in a process of its own, which gives the files of a folder and misbehaves as it is told.

    webserver.py FOLDER CONTROL

Prints its port. ``CONTROL`` is a JSON file that is read for every request: ``{"faults": {NAME: [FAULT, ...]},
"delay": SECONDS, "user": "name:password"}``. The faults of a name are used up one after another, ``"*"`` is any name; a
fault that ends in ``!`` stays. ``503``, ``404`` and other numbers: that status. ``short``: the connection ends in the
middle of the body. ``corrupt``: a byte is another. ``stall``: nothing comes after the middle. ``slow``: half a second
passes in the middle. Every request is a line of ``CONTROL.log``: the name, and what was done.
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

_used: dict[str, int] = {}
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
        told = json.loads(self.control.read_text())
        name = unquote(urlsplit(self.path).path).rpartition("/")[2]
        fault = self.fault(told.get("faults", {}), name) if body else ""
        time.sleep(told.get("delay", 0))
        if user := told.get("user"):
            wanted = "Basic " + base64.b64encode(user.encode()).decode()
            if self.headers.get("Authorization") != wanted:
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
        data = bytearray(file.read_bytes())
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
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

    def fault(self, faults: dict[str, list[str]], name: str) -> str:
        key = name if name in faults else "*"
        of = faults.get(key, [])
        with _lock:
            used = _used.get(key, 0)
            if used >= len(of):
                return ""
            if not of[used].endswith("!"):
                _used[key] = used + 1
        return of[used].rstrip("!")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:  # whoever asked is gone
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), partial(Handler, Path(sys.argv[1]), Path(sys.argv[2])))
    print(server.server_port, flush=True)
    server.serve_forever()
