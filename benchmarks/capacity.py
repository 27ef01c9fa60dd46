"""Storage, network and time needed for a data set and a number of nodes: formulas for your figures.

    python -m benchmarks.capacity [--frames N] [--labelled N] [--nodes 1,2,4] [--gpus N] [--step-ms MS] ...

Formulas (F frames in total, L of them in an epoch of the teacher, N nodes of G GPUs, R = N·G ranks, B frames per rank
and step):

    storage          F · bytes per frame
    shards           F / samples per shard, two files each
    step             t + t_allreduce · (1 − overlap), t of one rank alone
    t_allreduce      2·(G−1)/G · P/w_node  +  2·(N−1)/N · P/w_net  +  latency · 2·(G−1 + N−1), P = 4 · parameters bytes:
                     a ring in each node, then one over the nodes (Patarasuk and Yuan, "Bandwidth optimal all-reduce
                     algorithms for clusters of workstations", JPDC 2009)
    samples/s        R · B / step
    reading          samples/s · bytes per frame, over all nodes
    decoding         samples/s per node · time to decode a frame = busy cores
    labelling        (F − L) / (R · frames that a rank labels per second)
    checkpoint       3 · P (weights, two moments), written by one node at an interval of minutes

Simulated, not measured: stragglers, shared disks and other users of a cluster are not modelled.
"""

import argparse
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass
class Site:
    """Properties of data, network and machines, in bytes and seconds."""

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
    """Return the seconds of an all-reduce of the gradients."""
    size, gpus = 4 * site.parameters, site.gpus
    inside = 2 * (gpus - 1) / gpus * size / site.within
    across = 2 * (nodes - 1) / nodes * size / site.between
    return inside + across + site.latency * 2 * (gpus - 1 + nodes - 1)


def row(site: Site, nodes: int) -> dict[str, float]:
    """Return everything that depends on the number of nodes."""
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
    add("--frames", type=int, default=22_973, help="frames in the data set (default: Cityscapes, fine and coarse)")
    add("--labelled", type=int, default=2_975, help="frames that the teacher trains on")
    add("--frame-mb", type=float, default=3.0, help="MB per frame in the shards (python -m benchmarks.loader)")
    add("--samples-per-shard", type=int, default=256)
    add("--decode-ms", type=float, default=100.0, help="time of one core per frame (python -m benchmarks.loader)")
    add("--parameters", type=float, default=23.8e6, help="parameters of the network")
    add("--batch", type=int, default=2, help="frames per rank and step")
    add("--step-ms", type=float, required=True, help="step time of a single GPU (python -m benchmarks.step)")
    add("--label-fps", type=float, required=True, help="frames that one GPU labels per second")
    add("--within-gb", type=float, default=100.0, help="GB/s between the GPUs of a node")
    add("--between-gb", type=float, default=12.5, help="GB/s between nodes (12.5: 100 Gbit/s)")
    add("--latency-us", type=float, default=20.0, help="latency of a message")
    add("--overlap", type=float, default=0.5, help="share of the all-reduce hidden behind the backward pass")
    add("--nodes", default="1,2,4,8,16,32,64,128")
    add("--gpus", type=int, default=8, help="GPUs per node")
    add("--epochs", type=int, default=100)
    add("--checkpoint-minutes", type=float, default=10.0)
    options = arguments.parse_args()
    site = Site(
        frames=options.frames,
        labelled=options.labelled,
        frame_bytes=options.frame_mb * 1e6,
        samples_per_shard=options.samples_per_shard,
        decode=options.decode_ms / 1e3,
        parameters=options.parameters,
        batch=options.batch,
        step=options.step_ms / 1e3,
        label_rate=options.label_fps,
        within=options.within_gb * 1e9,
        between=options.between_gb * 1e9,
        latency=options.latency_us / 1e6,
        overlap=options.overlap,
        gpus=options.gpus,
        epochs=options.epochs,
    )
    report(site, [int(nodes) for nodes in options.nodes.split(",")], options.checkpoint_minutes)


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
