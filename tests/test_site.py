"""The checks of ``make docs`` in addition to those of Zensical, without Zensical."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def build(tmp_path, monkeypatch) -> ModuleType:
    """The module ``docs/site/build.py`` on a repository of two files and a folder."""
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "docs" / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, folder in {"ROOT": ".", "DOCS": "docs", "STAGE": "build/docs", "SITE": "build/site"}.items():
        monkeypatch.setattr(module, name, tmp_path / folder)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "one.py").write_text('"""What it is for.\n\nMore."""\n')
    (tmp_path / "code" / "two.yaml").write_text("a: 1\n")
    (tmp_path / "docs" / "page.md").write_text("# There\n")
    (tmp_path / "RULES.md").write_text("See [a page](docs/page.md#there).\n")
    (tmp_path / "build" / "site").mkdir(parents=True)
    return module


def staged(build: ModuleType, name: str, text: str) -> tuple[str, list[str]]:
    """A page as it stands in ``build/docs``, and the problems with all of them."""
    (build.DOCS / name).write_text(text)
    stage = build.Stage()
    stage.fill([])
    return (build.STAGE / name).read_text(), stage.problems


def test_links_that_leave_docs_lead_to_pages_of_the_site(build):
    text, problems = staged(build, "results/page.md", "[a](../../code/one.py) [b](../../code) [c](../../RULES.md#x)")
    expected = "[a](../repository/code/one.py.md) [b](../repository/code.md) [c](../repository/RULES.md#x)"
    assert (text, problems) == (expected, [])
    assert "What it is for." in (build.STAGE / "repository" / "code" / "one.py.md").read_text()
    folder = (build.STAGE / "repository" / "code.md").read_text()
    assert "- `one.py`: What it is for." in folder
    assert "```yaml\na: 1\n```" in folder


def test_a_page_outside_docs_links_to_the_pages_in_it(build):
    text, problems = staged(build, "page.md", "# There\n\n[rules](../RULES.md)\n")
    assert not problems
    assert "[rules](repository/RULES.md)" in text
    assert "(../page.md#there)" in (build.STAGE / "repository" / "RULES.md").read_text()


def test_a_link_to_nothing_or_out_of_the_repository_is_a_problem(build):
    _, problems = staged(build, "page.md", "[a](nothing.csv) [b](../../elsewhere) [c](https://a.b) [d](#e)\n")
    assert problems == ["docs/page.md: nothing.csv does not exist", "docs/page.md: ../../elsewhere does not exist"]


def test_code_is_left_alone(build):
    page = "```text\n[a](nothing)\n```\n"
    assert staged(build, "page.md", page) == (page, [])


def test_broken_addresses_of_the_finished_site(build):
    (build.SITE / "b.html").write_text('<h1 id="there"></h1>')
    links = ["b.html", "b.html#there", "#here", "https://a.b/c", "c.html", "b.html#gone", "#nowhere"]
    page = '<p id="here"></p><img src="https://a.b/d.png"><link rel="canonical" href="https://a.b/">'
    (build.SITE / "a.html").write_text(page + "".join(f'<a href="{link}"></a>' for link in links))
    assert list(build.broken()) == [
        "a.html: fetches https://a.b/d.png",
        "a.html: c.html does not exist",
        "a.html: b.html#gone has no such anchor",
        "a.html: #nowhere has no such anchor",
    ]
