"""The command line: what each command takes, and one-line errors. What a command does stands in its own module."""

import argparse
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from launchers.options import parser
from shards.errors import UserError
from trainer.configtext import home
from trainer.output import lasting
from trainer.ranks import ranks
from trainer.runs.status import Interrupted, LostRank

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
