"""Cost of networks with different backbones: parameters, multiply-adds, and latency on this machine's processors.

    python -m benchmarks.backbones [BACKBONE ...] [--size HEIGHTxWIDTH] [--classes N] [--rounds N] [--own-widths]
        [--decoders DECODER ...]

Networks of RGB → segmentation + depth, by default with both decoders of mtinet, mti and heads; fpn and dpt are separate
networks, dpt for backbones that are vision transformers. Sizes are counted without running the network
(trainer/model/size.py). Latency is the median time of a forward pass on one frame in evaluation, with channels-last
memory and all threads; the networks are timed in turn, so that disturbances affect all of them. ``--rounds 0`` only
counts, and ``--own-widths`` gives the decoder the backbone's widths (model.widths=null). Prints a Markdown table.
"""

import argparse
import statistics
import time

import torch

from shards.tasks import Task, palette
from trainer.model.network import Architecture, network_of
from trainer.model.size import size_of
from trainer.parsing import parse_size

BACKBONES = (
    "hrnet_w18_small_v2",
    "hrnet_w18",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "resnet18",
    "resnet50",
    "convnext_tiny",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("backbones", nargs="*", default=BACKBONES)
    arguments.add_argument("--size", default="480x640")
    arguments.add_argument("--classes", type=int, default=40)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--own-widths", action="store_true")
    arguments.add_argument("--decoders", nargs="+", default=("mti", "heads"), metavar="DECODER")
    options = arguments.parse_args()
    size = parse_size(options.size, "--size")
    assert size
    names = tuple(f"class{number}" for number in range(options.classes))
    tasks = Task("semseg", "classes", names, palette(options.classes)), Task("depth", "scalar", scale=0.001, unit="m")
    widths = {"widths": None} if options.own_widths else {}
    descriptions = [
        Architecture(backbone, ("rgb",), tasks, **widths, **_network(decoder))  # type: ignore[arg-type]
        for backbone in options.backbones
        for decoder in options.decoders
    ]
    milliseconds = latencies(descriptions, torch.rand(1, 3, *size), options.rounds) if options.rounds else []
    print(f"{torch.get_num_threads()} threads, one frame of {options.size}, {options.classes} classes and depth\n")
    print("| backbone | decoder | parameters: backbone | decoder | multiply-adds: backbone | decoder | latency |")
    print("|---|---|---|---|---|---|---|")
    for number, description in enumerate(descriptions):
        size_counts = size_of(description, size)
        counts = [f"{number / 1e6:.2f} M" for number in (size_counts.backbone, size_counts.decoder)]
        counts += [f"{number / 1e9:.2f} G" for number in size_counts.multiply_adds]
        latency = f"{milliseconds[number]:.0f} ms" if milliseconds else "–"
        print(f"| `{description.backbone}` | {decoder_of(description)} | {' | '.join(counts)} | {latency} |")


def _network(decoder: str) -> dict[str, str]:
    return {"decoder": decoder} if decoder in ("mti", "heads") else {"name": decoder}


def decoder_of(description: Architecture) -> str:
    """Return the name of the decoder, or of a network other than mtinet."""
    return description.decoder if description.name == "mtinet" else description.name


@torch.inference_mode()
def latencies(descriptions: list[Architecture], rgb: torch.Tensor, rounds: int) -> list[float]:
    """Return the median milliseconds of each network's forward pass; the first round is a warm-up."""
    networks = [network_of(description).eval().to(memory_format=torch.channels_last) for description in descriptions]  # type: ignore[call-overload]
    times: list[list[float]] = [[] for _ in networks]
    for number in range(rounds + 1):
        for network, seconds in zip(networks, times, strict=True):
            start = time.perf_counter()
            network({"rgb": rgb})
            if number:
                seconds.append(time.perf_counter() - start)
    return [1000 * statistics.median(seconds) for seconds in times]


if __name__ == "__main__":
    main()
