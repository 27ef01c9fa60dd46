"""The command line: parsing, and errors as one line. Each command is implemented in its own module."""

import argparse
import errno
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from launchers.options import parser
from launchers.output import safe_output
from shards.errors import OwnCodeError, UserError
from trainer.configtext import expand_user
from trainer.ranks import ranks
from trainer.runs.status import Interrupted, LostRank

_OLD_NAMES = {"relate": "affinity"}
"""Commands that had another name before 0.2."""
_LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0; 1 on an error; 2 on a bad call; 130 when interrupted."""
    with safe_output():
        try:
            return _main(parse(arguments))
        except UserError as error:
            return _fail(str(error), False)


def _main(options: argparse.Namespace) -> int:
    debug = options.debug or bool(os.environ.get("TUTELAGE_DEBUG"))
    try:
        module, function = options.command.split(":")
        command: Callable[[argparse.Namespace], None] = getattr(import_module(module), function)
        from launchers.console import show_reports  # rich, which `--help` need not wait for

        with show_reports():
            command(options)
        _destroy_process_group()
        return 0
    except UserError as error:
        hidden = isinstance(error, OwnCodeError) and error.hint is None and not debug
        return _fail(f"{error}; tutelage --debug shows where" if hidden else str(error), debug)
    except KeyboardInterrupt:
        return _fail("interrupted; start the same command again to continue", debug, 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            path = error.filename or "disk"
            return _fail(f"{path}: no space left; free some and start the same command again", debug)
        if not error.filename:
            raise
        # a missing file, no permission, or a file in place of a folder
        return _fail(f"{error.filename}: {error.strerror}", debug)
    except Interrupted as error:
        _destroy_process_group()
        return _fail(str(error), debug, 130)
    except LostRank as error:
        return _fail(str(error), debug)


def run() -> NoReturn:
    """Entry point of the command ``tutelage``: run :func:`main` and end the process."""
    try:
        status = main()
    except Exception:  # an unexpected error
        if ranks() == 1:
            raise
        traceback.print_exc()
        status = 1
    exit_process(status)


def exit_process(status: int) -> NoReturn:
    """End this process. One of several ranks ends without Python's finalisation, in which it could wait forever for a
    lost rank or for an unfinished collective on a GPU, or be aborted by a thread of the backend."""
    if ranks() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    gc.freeze()  # skips the last garbage collection over torch's objects, which takes seconds
    sys.exit(status)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the options of a call. Overrides may stand anywhere, also after options, where argparse does not accept
    them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["prepare"] and ":" in "".join(words[1:2]):
        words.insert(1, "own")  # a source in a user's module, which cannot be a choice of argparse
    root_parser = parser()
    command = next((word for word in words if not word.startswith("-")), "")
    if command in _OLD_NAMES:
        root_parser.error(f"there is no command {command}: did you mean {_OLD_NAMES[command]}?")
    options, overrides = root_parser.parse_known_args(words)
    unrecognised = [word for word in overrides if word.startswith("-") or "=" not in word]
    if unrecognised or (overrides and not hasattr(options, "overrides")):
        root_parser.error(f"unrecognized arguments: {' '.join(unrecognised or overrides)}")
    if overrides:
        options.overrides += overrides
    for name, value in vars(options).items():  # --out=~/labels, which the shell does not expand
        if isinstance(value, str) and value.startswith("~"):
            setattr(options, name, expand_user(value, key=f"--{name.replace('_', '-')}"))
    return options


def _destroy_process_group() -> None:
    """Destroy the process group: a rank that still listens when another ends may be aborted by the backend."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_initialized():
        distributed.destroy_process_group()


def _fail(message: str, debug: bool, status: int = 1) -> int:
    if debug:
        traceback.print_exc()
    print(f"tutelage: {_LINE_BREAK.sub(' ', message)}", file=sys.stderr)
    return status
