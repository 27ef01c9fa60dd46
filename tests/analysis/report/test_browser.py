"""The report in a real browser: no error, no request, no horizontal scrolling on a phone; light, dark and printed."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import devtools
import pytest
from PIL import Image

from analysis.report import page as module
from analysis.report.charts import Line, line_chart
from analysis.report.page import write

BROWSER = devtools.find()
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed (apt-get install chromium)")
WIDER = """[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width && !e.closest('.scroll, .legend, pre, .skip');
}).map(e => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 40))"""
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def report(finished_root, tmp_path_factory):
    """A report with everything in it: long names, several seeds, affinities."""
    root = tmp_path_factory.mktemp("report")
    shutil.copytree(finished_root, root / "runs")
    runs = root / "runs" / "scenes"
    for seed in (1, 2):
        shutil.copytree(runs / "student/seed-0", runs / f"student/seed-{seed}")
        result = runs / f"student/seed-{seed}/result.json"
        result.write_text(json.dumps(json.loads(result.read_text()) | {"seed": seed}))
    shutil.copytree(runs / "student/seed-0", runs / "long/seed-0")
    result = runs / "long/seed-0/result.json"
    name = {"experiment": "a-name-that-is-too-long-for-a-phone" * 2}
    result.write_text(json.dumps(json.loads(result.read_text()) | name))
    relative = {"mean": 0.31, "low": 0.12, "high": 0.5}
    gains = [
        {"source": a, "target": b, "helps": True, "relative": relative}
        for a in ("depth", "semseg", "normals")
        for b in ("depth", "semseg", "normals")
        if a != b
    ]
    affinity = {"seeds": [0, 1], "gains": gains, "verdicts": [], "recommended": {}}
    (runs / "affinity.json").write_text(json.dumps(affinity))
    write([runs], root / "report.html", frames=2)
    return root / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[devtools.Page]:
    with devtools.Page(BROWSER) as page:
        yield page


@pytest.fixture
def page(browser, report) -> devtools.Page:
    """The report in a window of 1280 pixels, opened afresh."""
    browser.view(1280)
    browser.requests.clear()
    browser.problems.clear()
    browser.open(report)
    return browser


def test_it_opens_without_errors_and_requests(page, report):
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.evaluate("document.images.length") > 20
    assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0


def test_the_check_notices_a_request_and_an_error(page, tmp_path):
    """The test above relies on it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        (tmp_path / "bad.html").write_text(f"<img src={address}><script>console.error('no')</script>")
        page.open(tmp_path / "bad.html")
    assert address in page.requests and any("no" in problem for problem in page.problems)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page, width, dark, tmp_path):
    page.view(width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(WIDER) == []
    page.screenshot(tmp_path / "page.png")
    assert Image.open(tmp_path / "page.png").width == width


def test_a_line_of_one_point_is_seen(browser, tmp_path):
    """As of a run that was validated once: the line has no length, but it is drawn in its colour."""
    chart = line_chart("t", [Line("a", 0, [5], [1.0], "")], "step")
    style = (Path(module.__file__).parent / "page.css").read_text()
    (tmp_path / "dot.html").write_text(f"<style>{style} .k0 {{ --c: rgb(255, 0, 0); }}</style><figure>{chart}</figure>")
    browser.view(360)
    browser.open(tmp_path / "dot.html")
    browser.screenshot(tmp_path / "dot.png")
    x, y = browser.evaluate("(b => [b.x, b.y])(document.querySelector('path.line').getBoundingClientRect())")
    assert Image.open(tmp_path / "dot.png").convert("RGB").getpixel((x, y)) == (255, 0, 0)


def test_dark_is_dark_and_paper_is_white(page, tmp_path):
    assert page.evaluate(PAPER) == "rgb(255, 255, 255)"
    page.view(1280, dark=True)
    assert page.evaluate(PAPER) == "rgb(20, 23, 27)"
    page.view(1280, dark=True, media="print")
    assert page.evaluate(PAPER) == "rgb(255, 255, 255)"
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(page, dark):
    """WCAG 2.2, 1.4.3 and 1.4.11: contrast 4.5 for text, 3 for the lines of a chart."""
    page.view(1280, dark=dark)
    background = _luminance(page.evaluate(PAPER))
    text_styles = [("body", 4.5), (".quiet", 4.5), ("a:not(.skip)", 4.5)]
    for selector, minimum in text_styles:
        colour = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).color")
        assert _contrast(_luminance(colour), background) >= minimum, selector
    for number in range(8):
        colour = page.evaluate(
            f"(() => {{ const e = document.createElement('i'); e.className = 'k{number}'; e.style.color = 'var(--c)';"
            "document.body.append(e); const c = getComputedStyle(e).color; e.remove(); return c; })()"
        )
        assert _contrast(_luminance(colour), background) >= 3, number


def test_the_keyboard_switches_an_experiment_off_everywhere(page):
    visible = "[...document.querySelectorAll('.x0')].filter(e => e.getClientRects().length).length"
    others_visible = visible.replace(".x0", ".x1")
    count, others_count = page.evaluate(visible), page.evaluate(others_visible)
    assert count > 10
    page.evaluate("document.getElementById('show0').focus()")
    for kind in ("keyDown", "keyUp"):
        page.send("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", windowsVirtualKeyCode=32, text=" ")
    assert page.evaluate(visible) == 0 and page.evaluate(others_visible) == others_count


def test_boxes_that_scroll_can_be_reached_by_keyboard(page):
    page.view(360)
    scrolling = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{scrolling}.length") > 0
    assert page.evaluate(f"{scrolling}.every(e => e.tabIndex == 0)")


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)
