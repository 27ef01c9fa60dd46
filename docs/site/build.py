"""Build the documentation as a site, strictly: ``python docs/site/build.py``, or ``make docs``.

::

    docs/              pages as GitHub shows them, which may link to any file of the repository
    build/docs/        the same, with a page for everything outside docs/ that a page links to
      repository/      these pages: a Markdown file as it is, any other as its text, a folder as a list
    build/site/        the site (zensical.toml)

Zensical stops at a link to a page or an anchor that does not exist, and at a reference to an object that the reference
does not hold. Here the build fails as well for a link of a page that leads nowhere, a page that the navigation forgets,
whatever a docstring's parser complains of, and, in the finished site, for any address that leads nowhere or would be
fetched from another host.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
DOCS, HERE = ROOT / "docs", Path(__file__).resolve().parent
STAGE, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r":[a-z]+:`~?")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".sh": "sh"}
LARGE = 20_000
"""Bytes from which on a file of a folder is not shown there: records that no reader reads."""
SILENT = "No issues found"  # what Zensical says where it has nothing to say


class Stage:
    """The pages in ``build/docs``.

    Attributes:
        problems: what is wrong with them, a line each.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._done: set[Path] = set()

    def fill(self, wanted: list[str]) -> None:
        """Write them anew: those of ``docs/``, and what these link to or ``wanted`` names (``repository/...``)."""
        shutil.rmtree(STAGE, ignore_errors=True)
        shutil.copytree(DOCS, STAGE, ignore=lambda folder, names: {HERE.name} if Path(folder) == DOCS else set())
        shutil.copyfile(HERE / "site.css", STAGE / "site.css")
        for page in sorted(STAGE.rglob("*.md")):
            self._write(page, DOCS / page.relative_to(STAGE))
        for name in wanted:
            if name.startswith("repository/"):
                self.place(ROOT / name.removeprefix("repository/"))

    def place(self, source: Path) -> Path:
        """Where a file or folder of the repository stands in ``build/docs``."""
        if source.is_relative_to(DOCS):
            return STAGE / source.relative_to(DOCS)
        name = source.relative_to(ROOT)
        page = STAGE / "repository" / (name if name.suffix == ".md" else f"{name}.md")
        if source not in self._done:
            self._done.add(source)
            page.parent.mkdir(parents=True, exist_ok=True)
            if name.suffix == ".md":
                self._write(page, source)
            else:
                page.write_text("\n".join(listing(source)), encoding="utf-8")
        return page

    def _write(self, page: Path, source: Path) -> None:
        """A Markdown file with its links as they are from its place in ``build/docs``."""

        def moved(link: re.Match[str]) -> str:
            target = Path(os.path.normpath(source.parent / link[2]))
            if not target.exists() or not target.is_relative_to(ROOT):
                self.problems.append(f"{source.relative_to(ROOT)}: {link[2]} does not exist")
                return link[0]
            return link[1] + os.path.relpath(self.place(target), page.parent)

        text, parts, last = source.read_text(encoding="utf-8"), [], 0
        for fence in FENCE.finditer(text):
            parts += [LINK.sub(moved, text[last : fence.start()]), fence[0]]
            last = fence.end()
        page.write_text("".join([*parts, LINK.sub(moved, text[last:])]), encoding="utf-8")


def listing(source: Path) -> Iterator[str]:
    """The lines of a page that shows a file, or what is in a folder: of modules what they are for, of other files all
    of it. Search passes it over."""
    yield from ("---", "search: {exclude: true}", "---", "", f"# {source.relative_to(ROOT)}", "")
    if source.is_file():
        yield from code(source)
        return
    entries = sorted(path for path in source.iterdir() if path.name != "__pycache__")
    for path in entries:
        if path.is_dir():
            yield f"- `{path.name}/`"
        elif path.suffix == ".py":
            words = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            words = ROLE.sub("`", words)
            yield f"- `{path.name}`: {words}" if words else f"- `{path.name}`"
    for path in entries:
        if path.suffix in LANGUAGES and path.suffix != ".py" and path.stat().st_size < LARGE:
            yield from ("", f"## {path.name}", "", *code(path))


def code(file: Path) -> Iterator[str]:
    yield from (f"```{LANGUAGES.get(file.suffix, 'text')}", file.read_text(encoding="utf-8").rstrip(), "```")


def pages(entries: list) -> Iterator[str]:
    """The pages that a navigation names."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from pages(target)


class Addresses(HTMLParser):
    """What a page of the site can be called by, leads to, and fetches."""

    FETCHED = (("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"))

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        self.links += [value for key in ("href", "src") if (value := values.get(key))]
        fetches = tag != "link" or values.get("rel") not in ("canonical", "alternate", "prev", "next")
        self.fetched += [value for name, key in self.FETCHED if name == tag and fetches and (value := values.get(key))]


def broken() -> Iterator[str]:
    """What leads nowhere, or out, in the finished site."""
    found = {page: Addresses(page) for page in sorted(SITE.rglob("*.html")) if page != SITE / "404.html"}
    for page, addresses in found.items():
        name = page.relative_to(SITE)
        yield from (f"{name}: fetches {url}" for url in addresses.fetched if urlsplit(url).netloc)
        for url in addresses.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{name}: {url} does not exist"
            elif parts.fragment and target in found and unquote(parts.fragment) not in found[target].anchors:
                yield f"{name}: {url} has no such anchor"


def main() -> int:
    """Build the site; 1 where anything is wrong with it."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    named = list(pages(config["nav"]))
    stage = Stage()
    stage.fill(named)
    problems = stage.problems
    missing = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - set(named)
    problems += [f"docs/{page}: not in the navigation of zensical.toml" for page in sorted(missing)]
    problems += [f"zensical.toml: {page} does not exist" for page in named if not (STAGE / page).is_file()]

    shutil.rmtree(SITE, ignore_errors=True)
    call = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(call, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    said = COLOUR.sub("", done.stderr)
    lines = [line.strip() for line in said.splitlines()]
    # what a parser says of an installed package's file, which a class of ours is derived from, is not ours to mend
    problems += [line for line in lines if line not in ("", SILENT) and "/site-packages/" not in line]
    if not done.returncode:
        problems += broken()
    print("\n".join(problems) or f"{SITE / 'index.html'}", file=sys.stderr if problems else sys.stdout)
    return 1 if problems or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
