"""Declaration of commands, and of arguments that several commands share."""

import argparse
from typing import Any

CONFIG = "configuration: a YAML file, or the name of a shipped one (nyudv2/ummt-ps)"


def add(commands: Any, name: str, function: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(command=function)
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return command


def add_config(command: Any, *, optional: bool = False) -> None:
    nargs = "?" if optional else None
    command.add_argument("config", metavar="CONFIG", nargs=nargs, help=CONFIG)
    command.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of the configuration")
