"""Docstrings for the reference: cross-references in the form of Sphinx become links.

A role such as ``:class:`shards.tasks.Task``` is a link where the reference holds the object, and code where it does
not. Names are looked for as Sphinx does: from the object itself outwards to its module, then from the top. One that
leads nowhere is an error. What Sphinx alone understands beside that, a paragraph that ends in ``::``, becomes Markdown.
"""

import logging
import re
from typing import Any

from griffe import Alias, AliasResolutionError, CyclicAliasError, Docstring, Extension, GriffeLoader, Module, Object

log = logging.getLogger("docs.roles")
OWN = ("tutelage", "shards", "trainer", "analysis", "launchers")
ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([\w.]+)`")
LITERAL = re.compile(r"(?<=\S):(?=:$)|[ ]?::$", re.MULTILINE)
"""What goes of the end of such a paragraph: a colon behind a word, or both."""


class Roles(Extension):
    """Rewrites the docstrings of our own packages; others that a link leads to are loaded and left alone."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        for place in _all(pkg) if pkg.name in OWN else ():
            if place.docstring:
                place.docstring.value = _rewritten(place.docstring, place, loader)


def _all(place: Object):
    yield place
    for member in place.members.values():
        if not isinstance(member, Alias):
            yield from _all(member)


def _rewritten(docstring: Docstring, place: Object, loader: GriffeLoader) -> str:
    def link(role: re.Match[str]) -> str:
        short, name = role.groups()
        path = _found(name, place, loader)
        if path is None:
            log.warning("%s:%s: %s leads nowhere", place.relative_filepath, docstring.lineno, role[0])
            return role[0]
        title = name.rpartition(".")[2] if short else name
        return f'<autoref identifier="{path}" optional><code>{title}</code></autoref>'

    return LITERAL.sub("", ROLE.sub(link, docstring.value))


def _found(name: str, place: Object, loader: GriffeLoader) -> str | None:
    """The path of the object that a name means at a place, where it was defined."""
    scope: Object | None = place
    while scope is not None:
        if path := _member(scope, name.split(".")):
            return path
        scope = None if scope.is_module else scope.parent
    root, *rest = name.split(".")
    try:
        known = root in loader.modules_collection
        top = loader.modules_collection[root] if known else loader.load(root, try_relative_path=False)
    except ImportError:
        return None
    return _member(top, rest)


def _member(place: Object | Alias, names: list[str]) -> str | None:
    try:
        for name in names:
            place = place.all_members[name] if place.is_class else place.members[name]
        return place.canonical_path
    except (KeyError, AliasResolutionError, CyclicAliasError):
        return None
