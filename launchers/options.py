"""All commands and their options. Each command is implemented in its own module, imported when it is called."""

import argparse
from typing import Any

from launchers.sources import add_prepare
from launchers.words import CONFIG, add, add_config

_COMPARE = "also show the difference of two experiments, seed by seed; may be repeated"


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and their options."""
    root = argparse.ArgumentParser(
        prog="tutelage", description="Multi-task learning for robot perception with imbalanced labels."
    )
    root.add_argument("--debug", action="store_true", help="show a traceback after an error")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_init(commands)
    add_prepare(commands)
    _add_inspect(commands)
    _add_experiment(commands)
    _add_grid(commands)
    _add_curve(commands)
    _add_status(commands)
    _add_job(commands)
    _add_affinity(commands)
    _add_deploy(commands)
    _add_table(commands)
    _add_toy(commands)
    _add_picture(commands)
    _add_report(commands)
    return root


def _add_init(commands: Any) -> None:
    init = add(commands, "init", "launchers.init:init", "a project of your own: configurations, scripts, a README")
    init.add_argument("folder", metavar="FOLDER", help="folder of the project; existing files are kept")
    init.add_argument("--name", help="name of the data set (default: the folder's)")
    classes = "segmentation classes in the order of their numbers (default: placeholders)"
    init.add_argument("--classes", default="floor,wall,shelf,person", metavar="NAME,NAME,...", help=classes)


def _add_inspect(commands: Any) -> None:
    inspect = add(commands, "inspect", "launchers.inspect:inspect", "the contents of a data set")
    inspect.add_argument("dataset", metavar="DATASET", help="folder with MANIFEST.json: its path or URL")
    inspect.add_argument("--verify", action="store_true", help="check every byte and decode every member")
    inspect.add_argument("--picture", metavar="FILE.png", help="draw a contact sheet")
    inspect.add_argument("--split", default="train", help="split of the contact sheet (default: train)")
    inspect.add_argument("--frames", type=int, default=8, help="frames on the contact sheet (default: 8)")


def _add_experiment(commands: Any) -> None:
    for name, text in {
        "train": "train the network of a configuration",
        "label": "write pseudo-labels with a trained teacher",
        "evaluate": "measure a trained network",
        "run": "teacher, labels, student, evaluation: all that is not finished",
        "config": "print the resolved configuration",
    }.items():
        command = add(commands, name, f"launchers.experiment:{name}", text)
        add_config(command, optional=name == "config")
        if name == "label":
            command.add_argument(
                "--merge", metavar="OUT", help="also write stand-alone shards of frames and all labels"
            )
        if name == "config":
            command.add_argument("--keys", action="store_true", help="explain every key")
            command.add_argument("--list", action="store_true", help="print the names of the shipped configurations")
            command.add_argument("--path", action="store_true", help="print the path of the file and exit")


def _add_grid(commands: Any) -> None:
    grid = add(commands, "grid", "launchers.grid:grid", "every row of a table, for several seeds")
    grid.add_argument("dataset", metavar="DATASET", help="a folder of configurations: its path, or its name (nyudv2)")
    grid.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of every row's configuration")
    grid.add_argument("--rows", metavar="A,B,C", help="only these, with their teachers (default: all)")
    grid.add_argument("--seeds", type=int, default=3, metavar="N", help="number of seeds, from `seed` up (default: 3)")
    grid.add_argument("--dry-run", action="store_true", help="print what would be run and exit")
    grid.add_argument("--sbatch", action="store_true", help="submit it to Slurm; with --dry-run print the calls")


def _add_curve(commands: Any) -> None:
    curve = add(commands, "curve", "launchers.curve:curve", "how many labels pseudo-labels save: a label curve")
    add_config(curve)
    curve.add_argument("--labels", required=True, metavar="N,N,N", help="training frames that show the scarce label")
    curve.add_argument("--seeds", type=int, default=3, metavar="N", help="number of seeds, from `seed` up (default: 3)")
    curve.add_argument("--task", help="the scarce task, if several have pseudo-labels")
    default = "umst-s.yaml beside CONFIG, or CONFIG without pseudo-labels"
    baseline = f"network to compare the student with; may be repeated (default: {default})"
    curve.add_argument("--baseline", metavar="CONFIG", action="append", help=baseline)
    root = "run.root of a number of labels, with {labels} in its place (default: runs/DATASET/curve/TASK-{labels})"
    curve.add_argument("--runs", metavar="PATTERN", help=root)
    curve.add_argument("--out", metavar="FOLDER", help="folder of the curve (default: runs/DATASET/curve/TASK/STUDENT)")
    curve.add_argument("--dry-run", action="store_true", help="print what would be run and exit")
    curve.add_argument("--sbatch", action="store_true", help="submit it to Slurm; with --dry-run print the calls")


def _add_status(commands: Any) -> None:
    status = add(commands, "status", "launchers.jobs:show", "the states of an experiment's stages, and their reasons")
    add_config(status)
    status.add_argument("--tsv", action="store_true", help="tab-separated, for scripts: with arguments, without titles")


def _add_job(commands: Any) -> None:
    job = commands.add_parser(
        "job", help="queries of the scripts in slurm/", description="Queries of the scripts in slurm/."
    )
    questions = job.add_subparsers(title="questions", required=True, metavar="QUESTION")
    for name, text in {
        "begin": "whether a stage may start: prints start or finished",
        "end": "how a stage ended: prints finished, failed or again",
    }.items():
        question = add(questions, name, f"launchers.jobs:{name}", text)
        question.add_argument("stage", choices=("train", "label", "evaluate"))
        add_config(question)
    question = add(questions, "stages", "launchers.jobs:stages", "the stages of a job")
    question.add_argument("job", choices=("teacher", "label", "student", "evaluate"))
    add(questions, "stop", "launchers.jobs:stop", "ask this job's ranks on this host to stop")


def _add_affinity(commands: Any) -> None:
    affinity = add(commands, "affinity", "launchers.affinity:affinity", "which task's labels help which other task")
    add_config(affinity)
    affinity.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of every network (default: 3)")
    affinity.add_argument(
        "--samples", type=int, metavar="N", help="frames to train on (default: all that show every task's label)"
    )
    affinity.add_argument("--out", metavar="FOLDER", help="folder of all runs (default: runs/DATASET/affinity)")
    split = "measure on training frames set aside (default; dev=N sets how many) or on validation frames"
    affinity.add_argument("--split", choices=("dev", "val"), default="dev", help=split)


def _add_deploy(commands: Any) -> None:
    predict = add(commands, "predict", "launchers.deploy:predict", "labels of picture files, by a trained network")
    export = add(commands, "export", "launchers.deploy:export", "a trained network for torch alone")
    for command in (predict, export):
        command.add_argument("model", metavar="MODEL", help="a run's checkpoints/last, or the model.safetensors in it")
        command.add_argument(
            "--size", metavar="HxW", help="input size of the network (default: its training frames' size)"
        )
        command.add_argument("--network", metavar="my.module:Name", help="the network's class, where it is your own")
    predict.add_argument("pictures", metavar="PICTURE", nargs="+", help="files, or folders of them")
    predict.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the labels")
    predict.add_argument("--strict", action="store_true", help="end at the first picture that cannot be read")
    predict.add_argument("--picture", metavar="FILE.png", help="draw some of them beside their RGB")
    predict.add_argument("--frames", type=int, default=8, help="frames on that picture (default: 8)")
    export.add_argument("--out", required=True, metavar="FILE.pt2", help="a torch.export archive")


def _add_table(commands: Any) -> None:
    table = add(commands, "table", "launchers.report:table", "results of runs, mean ± deviation over seeds")
    table.add_argument("runs", metavar="RUNS", nargs="+", help="runs, or folders of runs")
    table.add_argument("--compare", metavar="A,B", action="append", default=[], help=_COMPARE)
    metric = "also show this metric of a task (depth=mae), and compare it in ΔMTL; may be repeated for other tasks"
    table.add_argument("--metric", metavar="TASK=NAME", action="append", default=[], help=metric)
    table.add_argument("--format", choices=("text", "md", "csv"), default="text")


def _add_toy(commands: Any) -> None:
    toy = add(commands, "toy", "launchers.toy:toy", "the paper's toy example: do pseudo-labels bring knowledge?")
    toy.add_argument(
        "--functions",
        choices=("paper", "nested"),
        default="paper",
        help="those of the paper, or a pair in which f2 needs f1",
    )
    toy.add_argument("--seeds", type=int, default=50, metavar="N", help="number of seeds (default: 50)")
    toy.add_argument("--picture", metavar="FILE.png", help="draw what the first seed's networks learnt")
    toy.add_argument("--format", choices=("text", "md"), default="text")


def _add_picture(commands: Any) -> None:
    picture = add(commands, "picture", "launchers.report:picture", "RGB, truth and predictions side by side")
    overridden = f"of trained networks: {CONFIG}; and key=value, options of all of them"
    picture.add_argument("configs", metavar="CONFIG", nargs="+", help=overridden)
    picture.set_defaults(overrides=[])
    picture.add_argument("--out", required=True, metavar="FILE.png")
    picture.add_argument("--frames", type=int, default=4)


def _add_report(commands: Any) -> None:
    report = add(commands, "report", "launchers.report:report", "runs as one HTML page: tables, curves, pictures")
    report.add_argument("runs", metavar="RUNS", nargs="+", help="runs, or folders of runs; affinity.json, curve.json")
    report.add_argument("--out", required=True, metavar="FILE.html")
    report.add_argument("--compare", metavar="A,B", action="append", default=[], help=_COMPARE)
    report.add_argument("--frames", type=int, default=4, help="validation frames to draw (default: 4)")
    report.add_argument(
        "--data", metavar="DATASET", action="append", default=[], help="present folder of a data set that was moved"
    )
