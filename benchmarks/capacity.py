"""What a data set and a number of nodes ask of storage, network and time: formulas for your figures.

    python -m benchmarks.capacity [--frames N] [--labelled N] [--nodes 1,2,4] [--gpus N] [--step-ms MS] ...

Formulas (F frames in all, L of them in an epoch of the teacher, N nodes of G GPUs, R = N·G ranks, B frames of a rank in
a step):

    storage          F · bytes of a frame
    shards           F / samples of a shard, two files each
    step             t + t_allreduce · (1 − overlap), t of one rank alone
    t_allreduce      2·(G−1)/G · P/w_node  +  2·(N−1)/N · P/w_net  +  latency · 2·(G−1 + N−1), P = 4 · parameters bytes:
                     a ring in each node, then one over the nodes (Patarasuk and Yuan, "Bandwidth optimal all-reduce
                     algorithms for clusters of workstations", JPDC 2009)
    samples/s        R · B / step
    reading          samples/s · bytes of a frame, over all nodes
    decoding         samples/s of a node · time to decode a frame: cores that are busy with it
    labelling        (F − L) / (R · frames a rank labels in a second)
    checkpoint       3 · P (weights, two moments), written by one node every so many minutes

Simulated, not measured: a cluster has stragglers, shared disks and other users, of which this knows nothing.
"""

import argparse
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass
class Site:
    """What is known of data, network and machines. Bytes, seconds."""

    frames: int
    labelled: int
    frame_bytes: float
    samples_per_shard: int
    decode: float
    parameters: float
    batch: int
    step: float
    label_rate: float
    within: float
    between: float
    latency: float
    overlap: float
    gpus: int
    epochs: int


def allreduce(site: Site, nodes: int) -> float:
    """Seconds to sum the gradients of all ranks."""
    size, gpus = 4 * site.parameters, site.gpus
    inside = 2 * (gpus - 1) / gpus * size / site.within
    across = 2 * (nodes - 1) / nodes * size / site.between
    return inside + across + site.latency * 2 * (gpus - 1 + nodes - 1)


def row(site: Site, nodes: int) -> dict[str, float]:
    """Everything that depends on the number of nodes."""
    ranks = nodes * site.gpus
    waiting = allreduce(site, nodes)
    step = site.step + waiting * (1 - site.overlap)
    speed = ranks * site.batch / step
    return {
        "ranks": ranks,
        "allreduce_ms": 1000 * waiting,
        "efficiency": site.step / step,
        "samples_s": speed,
        "global_batch_size": ranks * site.batch,
        "steps": site.labelled // (ranks * site.batch),
        "hours": site.epochs * site.labelled / speed / 3600,
        "read_mb_s": speed * site.frame_bytes / 1e6,
        "cores_a_node": speed / nodes * site.decode,
        "label_hours": (site.frames - site.labelled) / (ranks * site.label_rate) / 3600,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--frames", type=int, default=22_973, help="in the data set (default: Cityscapes, fine and coarse)")
    add("--labelled", type=int, default=2_975, help="that the teacher trains on")
    add("--frame-mb", type=float, default=3.0, help="of a frame in the shards (python -m benchmarks.loader)")
    add("--samples-per-shard", type=int, default=256)
    add("--decode-ms", type=float, default=100.0, help="of one core for a frame (python -m benchmarks.loader)")
    add("--parameters", type=float, default=23.8e6, help="of the network")
    add("--batch", type=int, default=2, help="frames of a rank in a step")
    add("--step-ms", type=float, required=True, help="of one GPU alone (python -m benchmarks.step)")
    add("--label-fps", type=float, required=True, help="frames that one GPU labels in a second")
    add("--within-gb", type=float, default=100.0, help="GB/s between the GPUs of a node")
    add("--between-gb", type=float, default=12.5, help="GB/s between nodes (12.5: 100 Gbit/s)")
    add("--latency-us", type=float, default=20.0, help="of a message")
    add("--overlap", type=float, default=0.5, help="share of the all-reduce hidden behind the backward pass")
    add("--nodes", default="1,2,4,8,16,32,64,128")
    add("--gpus", type=int, default=8, help="of a node")
    add("--epochs", type=int, default=100)
    add("--checkpoint-minutes", type=float, default=10.0)
    o = arguments.parse_args()
    site = Site(
        frames=o.frames,
        labelled=o.labelled,
        frame_bytes=o.frame_mb * 1e6,
        samples_per_shard=o.samples_per_shard,
        decode=o.decode_ms / 1e3,
        parameters=o.parameters,
        batch=o.batch,
        step=o.step_ms / 1e3,
        label_rate=o.label_fps,
        within=o.within_gb * 1e9,
        between=o.between_gb * 1e9,
        latency=o.latency_us / 1e6,
        overlap=o.overlap,
        gpus=o.gpus,
        epochs=o.epochs,
    )
    report(site, [int(nodes) for nodes in o.nodes.split(",")], o.checkpoint_minutes)


def report(site: Site, nodes: list[int], minutes: float) -> None:
    shards = -(-site.frames // site.samples_per_shard)
    checkpoint = 3 * 4 * site.parameters
    console = Console(width=150)
    console.print(
        f"storage {site.frames * site.frame_bytes / 1e9:,.0f} GB in {shards:,} shards ({2 * shards:,} files), "
        f"labels aside; a checkpoint is {checkpoint / 1e6:,.0f} MB, "
        f"{checkpoint / 60 / minutes / 1e6:.1f} MB/s if written every {minutes:g} minutes",
        highlight=False,
    )
    table = Table(box=None)
    titles = (
        ("nodes", "nodes", ",.0f"),
        ("ranks", "GPUs", ",.0f"),
        ("global_batch_size", "batch", ",.0f"),
        ("steps", "steps/epoch", ",.0f"),
        ("allreduce_ms", "all-reduce ms", ",.1f"),
        ("efficiency", "efficiency", ".0%"),
        ("samples_s", "samples/s", ",.0f"),
        ("hours", "teacher h", ",.2f"),
        ("read_mb_s", "reading MB/s", ",.0f"),
        ("cores_a_node", "cores/node", ",.1f"),
        ("label_hours", "labelling h", ",.2f"),
    )
    for _, title, _ in titles:
        table.add_column(title, justify="right")
    for count in nodes:
        values = {"nodes": float(count), **row(site, count)}
        table.add_row(*(format(values[key], form) for key, _, form in titles))
    console.print(table)


if __name__ == "__main__":
    main()
