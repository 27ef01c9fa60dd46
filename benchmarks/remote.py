"""Frames per second from a web server at some distance, with and without prefetch, compared with the disk.

    python -m benchmarks.remote [--frames N] [--size HxW] [--samples-per-shard N] [--window N] [--latency MS ...]

Makes a data set of rendered rooms, serves it from another process, and reads one epoch of it from an empty cache, as
training does with one thread, for each latency. The server simulates that round-trip time: it waits once before it
answers, and between two waits sends as much as TCP would, starting with 10 segments and doubling up to ``--rate`` MB/s.
The first batch is counted separately, since prefetch cannot start before it is requested.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from shards import prefetch
from shards.cache import Cache
from shards.dataset import ShardDataset
from shards.pack import pack
from shards.sources.scenes import Scenes
from shards.stream import Batches
from trainer.parsing import parse_size
from trainer.trainingdata import TrainingData

BATCH = 8
_SEGMENTS = 10 * 1460


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, latency: float, rate: float) -> None:
        self.folder, self.latency, self.most = folder, latency, max(int(rate * 1e6 * latency), _SEGMENTS)
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    window = _SEGMENTS  # of a connection; it grows with each answer

    def do_GET(self) -> None:
        time.sleep(self.server.latency)
        data = (self.server.folder / self.path.rpartition("/")[2]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        sent = 0
        while sent < len(data):
            if sent and self.server.latency:
                time.sleep(self.server.latency)
            self.wfile.write(data[sent : sent + self.window])
            sent += self.window
            self.window = min(2 * self.window, max(self.server.most, self.window))

    def log_message(self, *_: object) -> None:
        pass


def epoch(data: str | Path, cache: Path, window: int) -> tuple[float, float]:
    """Return the frames per second of an epoch after its first batch, and the seconds to the first batch."""
    start = time.perf_counter()
    frames = ShardDataset(data, cache=Cache(cache))
    tasks = [task.name for task in frames.tasks]
    training = TrainingData(frames, ["rgb"], tasks, num_workers=1, shuffle_window=window)
    steps = training.samples // BATCH
    batches = training.batches(Batches(BATCH), 0, steps)
    next(batches)
    after_first = time.perf_counter()
    count = sum(len(batch.keys) for batch in itertools.islice(batches, steps - 1))
    return count / (time.perf_counter() - after_first), after_first - start


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--frames", type=int, default=512)
    arguments.add_argument("--size", default="240x320", metavar="HxW")
    arguments.add_argument("--samples-per-shard", type=int, default=16, metavar="N")
    arguments.add_argument("--window", type=int, default=4, help="shards whose samples are mixed (data.shuffle_window)")
    arguments.add_argument("--latency", type=float, nargs="+", default=[1, 10, 50], metavar="MS", help="round trips")
    arguments.add_argument("--rate", type=float, default=100, metavar="MB", help="MB per second of each connection")
    arguments.add_argument(
        "--rounds", type=int, default=1, metavar="N", help="number of epochs, of which the best counts"
    )
    arguments.add_argument("--serve", nargs=2, metavar=("FOLDER", "MS"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        with Server(Path(options.serve[0]), float(options.serve[1]) / 1000, options.rate) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as workspace:
        measure(options, Path(workspace))


def measure(options: argparse.Namespace, workspace: Path) -> None:
    size, folder, window = parse_size(options.size, "--size"), workspace / "data", options.window
    assert size is not None
    source = Scenes(options.frames, 2, size)
    shards = pack(source, folder, size=size, samples_per_shard=options.samples_per_shard).shards("train")
    megabytes = sum(shard.bytes for shard in shards) / 1e6
    print(f"{options.frames} frames of {options.size} in {len(shards)} shards, {megabytes:.0f} MB; window {window}")
    threads = prefetch.THREADS
    epoch(folder, workspace, window)  # warms up imports and the system's file cache
    figures: dict[str, list[tuple[float, float]]] = {}
    for number in range(options.rounds):  # all in turn, since the load of the machine changes
        figures.setdefault("disk", []).append(epoch(folder, workspace, window))
        for latency, with_prefetch in itertools.product(options.latency, (True, False)):
            name = f"{latency:g} ms, {'prefetch' if with_prefetch else 'none'}"
            prefetch.THREADS = threads if with_prefetch else 0
            with serve(folder, latency, options.rate) as url:
                figures.setdefault(name, []).append(epoch(url, workspace / f"cache {name} {number}", window))
    local = max(figures["disk"])[0]
    for name, rounds in figures.items():
        speed, first = max(rounds)
        print(f"{name:18} {speed:8.1f} frames/s  {speed / local:4.2f}x   first batch after {first:.2f} s")


@contextmanager
def serve(folder: Path, latency: float, rate: float) -> Iterator[str]:
    """Serve a folder from another process at a distance, and yield its URL."""
    call = [sys.executable, "-m", "benchmarks.remote", "--serve", str(folder), str(latency), "--rate", str(rate)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/data"
        server.kill()


if __name__ == "__main__":
    main()
