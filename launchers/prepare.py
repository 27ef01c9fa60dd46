"""``tutelage prepare SOURCE``: raw frames → shards, with a progress bar and a summary of the data set."""

import argparse
import inspect
from typing import Any

from launchers.console import print_line
from launchers.inspect import summary
from shards.errors import UserError
from shards.extras import need
from shards.form import a_type
from shards.members import need_profile
from shards.origin import Origin
from shards.owncode import name_errors, own_code
from shards.pack import pack
from shards.sources.base import Source
from shards.sources.checked import check_source
from shards.store import on_disk
from trainer.extension import import_name
from trainer.parsing import parse_size
from trainer.progress import progress
from trainer.runs.exclusive import exclusive


def scenes(options: argparse.Namespace) -> None:
    from shards.sources.scenes import Scenes

    size = parse_size(options.size, "--size") or (96, 128)
    _pack(Scenes(options.train, options.val, size, options.seed), options, size, window=3)


def nyudv2(options: argparse.Namespace) -> None:
    need("prepare nyudv2", "h5py")
    from shards.sources.nyudv2 import Nyudv2

    _pack(Nyudv2(options.source, options.depth, options.classes), options)


def cityscapes(options: argparse.Namespace) -> None:
    from shards.sources.cityscapes import Cityscapes

    source = Cityscapes(
        options.source,
        coarse=options.coarse,
        max_depth=options.max_depth,
        classes=options.classes,
        inverse_depth=options.inverse_depth,
    )
    _pack(source, options)


def folder(options: argparse.Namespace) -> None:
    from shards.sources.folder import Folder

    source = Folder(
        options.source,
        name=options.name,
        classes=_parse_classes(options.classes),
        ignore=options.ignore,
        offset=options.offset,
        depth_scale=options.depth_scale,
        val_fraction=options.val_fraction,
        intrinsics=_parse_intrinsics(options.intrinsics),
        group_by=options.group_by,
    )
    _pack(source, options)


def own(options: argparse.Namespace) -> None:
    module, _, name = options.own.partition(":")
    source_class = import_name(options.own, "SOURCE")
    origin = Origin.of_module(module, name)
    if not callable(source_class):
        message, hint = f"is {a_type(source_class)}, which cannot be called", "name a class: my.module:Source"
        raise UserError(message, file=origin.file, key=name, hint=hint)
    _check_arguments(source_class, options, origin)
    hint = "correct the arguments after OUT, or the constructor"
    with name_errors(origin, name), own_code(origin, name, call="its constructor", hint=hint, shipped=True):
        source = source_class(*options.arguments)
    _pack(source, options)


def _check_arguments(source_class: Any, options: argparse.Namespace, origin: Origin) -> None:
    """Check that a class takes the number of given arguments.

    Raises:
        UserError: when it does not.
    """
    try:
        signature = inspect.signature(source_class)
    except (TypeError, ValueError):  # a built-in class without a signature
        return
    try:
        signature.bind(*options.arguments)
    except TypeError as error:
        names = [
            name.upper() if parameter.default is parameter.empty else f"[{name.upper()}]"
            for name, parameter in signature.parameters.items()
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)
        ]
        hint = f"call prepare {options.own} {' '.join(['OUT', *names])}"
        message = f"cannot be made of {len(options.arguments)} arguments ({error})"
        raise UserError(message, file=origin.file, key=origin.name, hint=hint) from error


def _pack(source: Source, options: argparse.Namespace, size: tuple[int, int] | None = None, window: int = 31) -> None:
    need_profile(options.profile)  # before the folder is created
    if options.jobs < 1:
        raise UserError(f"{options.jobs} processes", key="--jobs", hint="give 1 or more")
    source = check_source(source)
    if options.normals:
        from shards.sources.normals import WithNormals

        source = WithNormals(source, window if options.window is None else options.window)
    elif options.window is not None:
        raise UserError("applies only to normals", key="--window", hint="give --normals too")
    unreadable: list[str] = []
    frames = sum(len(keys) for keys in source.splits.values())
    out = on_disk(options.out, "OUT")
    with exclusive(out, print_line), progress(f"prepare {source.name}", frames) as report:
        manifest = pack(
            source,
            out,
            size=size or parse_size(options.size, "--size"),
            samples_per_shard=options.samples_per_shard,
            jobs=options.jobs,
            strict=options.strict,
            profile=options.profile,
            progress=report,
            set_aside=unreadable.append,
        )
    summary(manifest)
    for reason in unreadable:
        print_line(f"left out: {reason}")
    if unreadable:
        hint = "use the data set without them, or restore their files and prepare it again in a new folder"
        raise UserError(
            f"{len(unreadable)} of {frames} frames could not be read and are left out", file=options.out, hint=hint
        )


def _parse_classes(text: str | None) -> int | list[str] | None:
    if text is None:
        return None
    if text.isnumeric() and not text.isdecimal():  # ² and ½ are neither integers nor plausible names
        raise UserError(f"{text!r}", key="--classes", hint="give the number of classes, or their names: floor,shelf")
    return int(text) if text.isdecimal() else [name.strip() for name in text.split(",")]


def _parse_intrinsics(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        return dict(zip(("fx", "fy", "cx", "cy"), map(float, text.split(",")), strict=True))
    except ValueError:
        hint = "give four numbers of pixels, FX,FY,CX,CY: 525,525,319.5,239.5"
        raise UserError(f"{text!r}", key="--intrinsics", hint=hint) from None
