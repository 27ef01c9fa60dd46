"""The command line: what each command takes, and one-line errors. What a command does stands in its own module."""

import argparse
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from shards.errors import UserError
from trainer.configtext import home
from trainer.output import lasting
from trainer.ranks import ranks
from trainer.runs.status import Interrupted, LostRank

CONFIG = "configuration: a YAML file, or the name of a shipped one (nyudv2/ummt-ps)"
_ONCE = {"relate": "affinity"}
"""Commands that had another name before 0.2."""
_BREAK = re.compile(r"\s*[\r\n]+\s*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0; 1 on an error; 2 on a bad call; 130 when interrupted."""
    with lasting():
        try:
            return _main(parse(arguments))
        except UserError as error:
            return _fail(str(error), False)


def _main(options: argparse.Namespace) -> int:
    debug = options.debug or bool(os.environ.get("TUTELAGE_DEBUG"))
    try:
        module, function = options.command.split(":")
        command: Callable[[argparse.Namespace], None] = getattr(import_module(module), function)
        command(options)
        _part()
        return 0
    except UserError as error:
        return _fail(str(error), debug)
    except KeyboardInterrupt:
        return _fail("interrupted; start the same command again to continue", debug, 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = error.filename or "disk"
            return _fail(f"{place}: no space left; free some and start the same command again", debug)
        if not error.filename:
            raise
        return _fail(f"{error.filename}: {error.strerror}", debug)  # no such file, no permission, a file for a folder
    except Interrupted as error:
        _part()
        return _fail(str(error), debug, 130)
    except LostRank as error:
        return _fail(str(error), debug)


def run() -> NoReturn:
    """The command ``tutelage``: :func:`main`, and the end of the process."""
    try:
        status = main()
    except Exception:  # no error that was foreseen
        if ranks() == 1:
            raise
        traceback.print_exc()
        status = 1
    leave(status)


def leave(status: int) -> NoReturn:
    """End this process. A rank ends at once: in Python's orderly end it may wait for another rank that is gone, or
    for what it sent to a GPU and no other rank will answer, or be aborted by a thread of the backend."""
    if ranks() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a call. Overrides may stand anywhere, also behind options, where argparse does not look for
    them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["prepare"] and ":" in "".join(given[1:2]):
        given.insert(1, "own")  # of a module of the user's, which no list of sources can hold
    top = parser()
    named = next((word for word in given if not word.startswith("-")), "")
    if named in _ONCE:
        top.error(f"there is no command {named}: did you mean {_ONCE[named]}?")
    options, rest = top.parse_known_args(given)
    strangers = [each for each in rest if each.startswith("-") or "=" not in each]
    if strangers or (rest and not hasattr(options, "overrides")):
        top.error(f"unrecognized arguments: {' '.join(strangers or rest)}")
    if rest:
        options.overrides += rest
    for name, value in vars(options).items():  # --out=~/labels, where no shell does it
        if isinstance(value, str) and value.startswith("~"):
            setattr(options, name, home(value, key=f"--{name.replace('_', '-')}"))
    return options


def _part() -> None:
    """Ranks take leave of each other: one that still listens when another is gone may be aborted by the backend."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_initialized():
        distributed.destroy_process_group()


def _fail(message: str, debug: bool, status: int = 1) -> int:
    if debug:
        traceback.print_exc()
    print(f"tutelage: {_BREAK.sub(' ', message)}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="tutelage", description="Multi-task learning for robot perception with imbalanced labels."
    )
    top.add_argument("--debug", action="store_true", help="show a traceback after an error")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _init(commands)
    _prepare(commands)
    inspect = _command(commands, "inspect", "launchers.inspect:inspect", "what a data set holds")
    inspect.add_argument("dataset", metavar="DATASET", help="folder with MANIFEST.json: its path or URL")
    inspect.add_argument("--verify", action="store_true", help="check every byte and decode every member")
    inspect.add_argument("--picture", metavar="FILE.png", help="draw a contact sheet")
    inspect.add_argument("--split", default="train", help="of the contact sheet (default: train)")
    inspect.add_argument("--frames", type=int, default=8, help="on the contact sheet (default: 8)")
    for name, text in {
        "train": "train the network of a configuration",
        "label": "write pseudo-labels with a trained teacher",
        "evaluate": "measure a trained network",
        "run": "teacher, labels, student, evaluation: whatever is not finished",
        "config": "print the resolved configuration",
    }.items():
        command = _command(commands, name, f"launchers.experiment:{name}", text)
        _takes_config(command, optional=name == "config")
        if name == "label":
            command.add_argument(
                "--merge", metavar="OUT", help="also write stand-alone shards of frames and all labels"
            )
        if name == "config":
            command.add_argument("--keys", action="store_true", help="explain every key")
            command.add_argument("--list", action="store_true", help="the names of the shipped configurations")
            command.add_argument("--path", action="store_true", help="print where the file is, and stop")
    grid = _command(commands, "grid", "launchers.grid:grid", "every row of a table, for several seeds")
    grid.add_argument("dataset", metavar="DATASET", help="a folder of configurations: its path, or its name (nyudv2)")
    grid.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of every row's configuration")
    grid.add_argument("--rows", metavar="A,B,C", help="only these, with their teachers (default: all)")
    grid.add_argument("--seeds", type=int, default=3, metavar="N", help="how many, from `seed` up (default: 3)")
    grid.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")
    grid.add_argument("--sbatch", action="store_true", help="submit it to Slurm; with --dry-run print the calls")
    _curve(commands)
    about = _command(
        commands, "status", "launchers.jobs:show", "which stages of an experiment are finished, and why not"
    )
    _takes_config(about)
    about.add_argument("--tsv", action="store_true", help="tab-separated, for scripts: with arguments, without titles")
    _job(commands)
    affinity = _command(
        commands, "affinity", "launchers.affinity:affinity", "which task's labels help which other task"
    )
    _takes_config(affinity)
    affinity.add_argument("--seeds", type=int, default=3, metavar="N", help="of every network (default: 3)")
    affinity.add_argument(
        "--samples", type=int, metavar="N", help="frames to train on (default: all that show every task's label)"
    )
    affinity.add_argument("--out", metavar="FOLDER", help="of all runs (default: runs/DATASET/affinity)")
    judges = "judges: training frames that are set aside (default; dev=N says how many), or those that judge students"
    affinity.add_argument("--split", choices=("dev", "val"), default="dev", help=judges)
    _deploy(commands)
    table = _command(commands, "table", "launchers.report:table", "results of runs, mean ± deviation over seeds")
    table.add_argument("runs", metavar="RUNS", nargs="+", help="runs, or folders of runs")
    also = "also show the difference of two experiments, seed by seed; may be given several times"
    table.add_argument("--compare", metavar="A,B", action="append", default=[], help=also)
    table.add_argument("--format", choices=("text", "md", "csv"), default="text")
    toy = _command(commands, "toy", "launchers.toy:toy", "the paper's toy example: do pseudo-labels bring knowledge?")
    toy.add_argument(
        "--functions", choices=("paper", "nested"), default="paper", help="the paper's, or a pair of which f2 needs f1"
    )
    toy.add_argument("--seeds", type=int, default=50, metavar="N", help="trained together (default: 50)")
    toy.add_argument("--picture", metavar="FILE.png", help="draw what the first seed's networks learnt")
    toy.add_argument("--format", choices=("text", "md"), default="text")
    picture = _command(commands, "picture", "launchers.report:picture", "RGB, truth and predictions side by side")
    picture.add_argument("configs", metavar="CONFIG", nargs="+", help=f"of trained networks: {CONFIG}")
    picture.set_defaults(overrides=[])
    picture.add_argument("--out", required=True, metavar="FILE.png")
    picture.add_argument("--frames", type=int, default=4)
    report = _command(commands, "report", "launchers.report:report", "runs as one HTML page: tables, curves, pictures")
    report.add_argument("runs", metavar="RUNS", nargs="+", help="runs, or folders of runs; affinity.json, curve.json")
    report.add_argument("--out", required=True, metavar="FILE.html")
    report.add_argument("--frames", type=int, default=4, help="validation frames that are drawn (default: 4)")
    report.add_argument(
        "--data", metavar="DATASET", action="append", default=[], help="where a data set is that was moved"
    )
    return top


def _takes_config(command: Any, *, optional: bool = False) -> None:
    needed = "?" if optional else None
    command.add_argument("config", metavar="CONFIG", nargs=needed, help=CONFIG)
    command.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of the configuration")


def _deploy(commands: Any) -> None:
    predict = _command(commands, "predict", "launchers.deploy:predict", "labels of picture files, by a trained network")
    export = _command(commands, "export", "launchers.deploy:export", "a trained network for torch alone")
    for command in (predict, export):
        command.add_argument("model", metavar="MODEL", help="a run's checkpoints/last, or the model.safetensors in it")
        command.add_argument("--size", metavar="HxW", help="what the network sees (default: its training frames' size)")
        command.add_argument("--network", metavar="my.module:Name", help="the network's class, where it is your own")
    predict.add_argument("pictures", metavar="PICTURE", nargs="+", help="files, or folders of them")
    predict.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the labels")
    predict.add_argument("--strict", action="store_true", help="end at the first picture that cannot be read")
    predict.add_argument("--picture", metavar="FILE.png", help="draw some of them beside their RGB")
    predict.add_argument("--frames", type=int, default=8, help="on that picture (default: 8)")
    export.add_argument("--out", required=True, metavar="FILE.pt2", help="a torch.export archive")


def _curve(commands: Any) -> None:
    curve = _command(commands, "curve", "launchers.curve:curve", "how many labels pseudo-labels save: a label curve")
    _takes_config(curve)
    curve.add_argument("--labels", required=True, metavar="N,N,N", help="training frames that show the scarce label")
    curve.add_argument("--seeds", type=int, default=3, metavar="N", help="how many, from `seed` up (default: 3)")
    curve.add_argument("--task", help="the scarce one, where several have pseudo-labels")
    without = "umst-s.yaml beside CONFIG, or CONFIG without pseudo-labels"
    compared = f"what the student is compared with; may be given several times (default: {without})"
    curve.add_argument("--baseline", metavar="CONFIG", action="append", help=compared)
    root = "run.root of a number of labels, with {labels} in its place (default: runs/DATASET/curve/TASK-{labels})"
    curve.add_argument("--runs", metavar="PATTERN", help=root)
    curve.add_argument("--out", metavar="FOLDER", help="of the curve (default: runs/DATASET/curve/TASK/STUDENT)")
    curve.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")
    curve.add_argument("--sbatch", action="store_true", help="submit it to Slurm; with --dry-run print the calls")


def _job(commands: Any) -> None:
    job = commands.add_parser(
        "job", help="what the scripts in slurm/ ask", description="What the scripts in slurm/ ask."
    )
    questions = job.add_subparsers(title="questions", required=True, metavar="QUESTION")
    for name, text in {
        "begin": "whether a stage may start: answers start or finished",
        "end": "how a stage ended: answers finished, failed or again",
    }.items():
        question = _command(questions, name, f"launchers.jobs:{name}", text)
        question.add_argument("stage", choices=("train", "label", "evaluate"))
        _takes_config(question)
    question = _command(questions, "stages", "launchers.jobs:stages", "which stages a job does")
    question.add_argument("job", choices=("teacher", "label", "student", "evaluate"))
    _command(questions, "stop", "launchers.jobs:stop", "ask this job's ranks on this host to stop")


def _init(commands: Any) -> None:
    init = _command(commands, "init", "launchers.init:init", "a project of your own: configurations, scripts, a README")
    init.add_argument("folder", metavar="FOLDER", help="of the project; what is in it already is left as it is")
    init.add_argument("--name", help="of the data set (default: the folder's)")
    classes = "of the segmentation, in the order of their numbers (default: some to be replaced)"
    init.add_argument("--classes", default="floor,wall,shelf,person", metavar="NAME,NAME,...", help=classes)


def _prepare(commands: Any) -> None:
    prepare = commands.add_parser("prepare", help="raw frames → shards", description="Raw frames → shards.")
    sources = prepare.add_subparsers(title="sources", required=True, metavar="SOURCE")

    def source(name: str, text: str, raw: str | None, first: str = "source") -> argparse.ArgumentParser:
        command = _command(sources, name, f"launchers.prepare:{name}", text)
        if raw:
            command.add_argument(first, metavar=raw)
        command.add_argument("out", metavar="OUT", help="folder of the data set")
        command.add_argument("--size", metavar="HxW", help="resize frames (default: keep their size)")
        command.add_argument("--samples-per-shard", type=int, default=256, metavar="N")
        command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
        command.add_argument("--strict", action="store_true", help="end at the first file that cannot be read")
        command.add_argument("--normals", action="store_true", help="add surface normals, from depth")
        fitted = "pixels a side that a normal is fitted to, odd (default: 3 for scenes, 31 for the depth of sensors)"
        command.add_argument("--window", type=int, metavar="N", help=fitted)
        return command

    scenes = source("scenes", "rendered indoor rooms; needs no download", None)
    scenes.add_argument("--train", type=int, default=400, metavar="N", help="training frames (default: 400)")
    scenes.add_argument("--val", type=int, default=100, metavar="N", help="validation frames (default: 100)")
    scenes.add_argument("--seed", type=int, default=0)
    nyudv2 = source("nyudv2", "the official nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat", "FOLDER")
    nyudv2.add_argument("--depth", choices=("filled", "raw"), default="filled")
    nyudv2.add_argument("--classes", type=int, choices=(40, 13), default=40, help="of the segmentation (default: 40)")
    cityscapes = source("cityscapes", "the official folders leftImg8bit, gtFine, disparity, camera", "ROOT")
    cityscapes.add_argument("--coarse", action="store_true", help="add gtCoarse and train_extra")
    cityscapes.add_argument(
        "--max-depth", type=float, default=200, metavar="M", help="no measurement beyond, in metres (default: 200)"
    )
    cityscapes.add_argument("--classes", type=int, choices=(19, 7), default=19, help="7: categories (default: 19)")
    cityscapes.add_argument("--inverse-depth", action="store_true", help="in 1/m, in place of depth")
    own = source(
        "own", "a source of your own, by its class: prepare my.module:Source OUT [ARGUMENT ...]", "MODULE:CLASS", "own"
    )
    own.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="what its class is made with")
    folder = source("folder", "your own frames: ROOT/rgb, ROOT/TASK, and ROOT/dataset.yaml or the options", "ROOT")
    folder.add_argument("--name", help="of the data set (default: the folder's)")
    folder.add_argument("--val-fraction", type=float, metavar="F", help="share of the frames that validate")
    kept = "what --val-fraction keeps in one split: folder, or a regular expression of names"
    folder.add_argument("--group-by", metavar="folder|PATTERN", help=kept)
    folder.add_argument("--classes", metavar="N|NAME,NAME,...", help="segmentation classes")
    folder.add_argument("--ignore", type=int, metavar="VALUE", help="stored value that means no class")
    folder.add_argument("--offset", type=int, metavar="VALUE", help="stored value of the first class")
    folder.add_argument("--intrinsics", metavar="FX,FY,CX,CY", help="the camera's, in pixels of the frames as they are")
    folder.add_argument("--depth-scale", type=float, metavar="M", help="metres of one stored step of depth")


def _command(commands: Any, name: str, function: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(command=function)
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return command
