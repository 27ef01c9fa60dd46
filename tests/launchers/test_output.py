"""Output that cannot be encoded or written does not end a command."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from launchers.console import print_line, show_reports
from launchers.output import SafeStream, safe_output
from trainer.progress import progress


class Terminal(io.TextIOWrapper):
    """A standard output with the given encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding, write_through=True)

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_signs_that_an_encoding_lacks_are_spelt(encoding, monkeypatch):
    stream = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_line("Regal 棚 −0.5 ± 1 → \udcff")
    expected = {"utf-8": "Regal 棚 −0.5 ± 1 → \\udcff\n", "latin-1": "Regal \\u68da -0.5 ± 1 -> \\udcff\n"}
    assert stream.text == expected.get(encoding, "Regal \\u68da -0.5 +- 1 -> \\udcff\n")


def test_lines_of_progress_are_spelt_too(monkeypatch):
    stream = Terminal("ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with show_reports(), progress("größe", 1) as report:
        report(1, "a · b")
    assert stream.text.startswith("gr\\xf6\\xdfe 1/1 a | b ")


def test_markup_and_emoji_codes_in_names_are_printed_as_they_are(capsys):
    print_line("[bold]a[/bold] [red]b :car: [/] 10")
    assert capsys.readouterr().out == "[bold]a[/bold] [red]b :car: [/] 10\n"


def test_a_full_disk_is_told_once_and_the_work_goes_on():
    code = "from launchers.console import print_line as p; [p('a' * 10000) for _ in range(9)]; import sys; sys.exit(7)"
    with Path("/dev/full").open("w") as full_disk:
        process = subprocess.run([sys.executable, "-c", code], stdout=full_disk, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 7
    assert process.stderr == "tutelage: cannot print any more (No space left on device); the work goes on\n"


def test_a_reader_that_is_gone_ends_nothing():
    code = "from launchers.console import print_line as p; [p('a' * 10000) for _ in range(99)]; import sys; sys.exit(7)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 7)


def test_there_may_be_no_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    print_line("a")
    with safe_output():
        print("b")
    assert sys.stdout is None


def test_a_wrapped_stream_is_still_that_stream():
    stream = Terminal("latin-1")
    assert (SafeStream("stdout", stream).encoding, SafeStream("stdout", stream).isatty()) == ("latin-1", False)
