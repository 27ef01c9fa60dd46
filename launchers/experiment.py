"""The commands that take a configuration: train, label, evaluate, run, config."""

import argparse
from typing import TYPE_CHECKING

from launchers.console import console, print_line, print_table
from shards.errors import UserError
from shards.extras import EXTRAS, need
from shards.store import on_disk
from trainer.configfile import load, to_file
from trainer.runs.result import NAME, describe_frames
from trainer.shipped import find, names

if TYPE_CHECKING:
    from trainer.experiment import Experiment


def train(options: argparse.Namespace) -> None:
    from trainer.trainstage import train

    print_line(f"trained: {train(_experiment(options))}")


def label(options: argparse.Namespace) -> None:
    from trainer.pseudolabels.merge import merge
    from trainer.pseudolabels.stage import label
    from trainer.stages import describe_kept

    experiment = _experiment(options)
    merged = on_disk(options.merge, "--merge") if options.merge else None
    if merged and experiment.manifest.tiled:
        need("label --merge", *EXTRAS["tiles"])
    statistics = label(experiment)
    for line in describe_kept(statistics):
        print_line(line)
    for task, entry in statistics.items():
        for name, fraction in entry.get("kept_by_class", {}).items():
            print_line(f"  {task} {name}: " + ("never predicted" if fraction is None else f"{fraction:.1%}"))
    places = [experiment.labels] * experiment.labels.exists() + [experiment.label_store] * bool(experiment.label_store)
    print_line(f"labels: {', and '.join(map(str, places))}")
    if merged:
        print_line(f"merged: {merge(experiment, merged).folder}")


def evaluate(options: argparse.Namespace) -> None:
    from trainer.evaluatestage import describe, evaluate

    experiment = _experiment(options)
    result = evaluate(experiment)
    for name, metrics in result.checkpoints.items():
        print_line(f"{experiment.config.experiment}, {name} checkpoint:")
        for line in describe(metrics):
            print_line(f"  {line}")
    for line in describe_frames(result):
        print_line(line)
    for task in experiment.tasks:
        class_ious = result.metrics[task.name].get("iou")
        if class_ious:
            for name, value in zip(task.classes, class_ious, strict=True):
                print_line(f"    {name}: " + ("does not occur" if value is None else f"IoU {value:.4f}"))
    print_line(f"written: {experiment.folder / NAME}")


def run(options: argparse.Namespace) -> None:
    from analysis.results.table import as_rich, tabulate
    from trainer.stages import run

    experiment = _experiment(options)
    result = run(experiment)
    print_table(as_rich(tabulate([result])))
    print_line(f"written: {experiment.folder / NAME}")


def config(options: argparse.Namespace) -> None:
    if options.keys:
        from rich.text import Text

        from trainer.configdocs import documentation, values_in_words

        values = values_in_words()
        for key, text in documentation().items():
            console.print(Text.assemble((key, "bold"), f": {text}", f" ({values[key]})" * bool(values[key])))
        return
    if options.list:
        print("\n".join(names()))
        return
    if not options.config:
        hint = "name one; --list shows those that are shipped"
        raise UserError("no configuration was given", key="CONFIG", hint=hint)
    if options.path:
        print(find(options.config))
        return
    print(to_file(load(options.config, options.overrides)), end="")


def _experiment(options: argparse.Namespace) -> "Experiment":
    from trainer.experiment import Experiment

    return Experiment(options.config, options.overrides)
