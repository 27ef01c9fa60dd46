"""The page of NYUDv2 is consistent: its tables, CSV files, verdicts, and the intervals that its conclusions quote."""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scipy.stats import t

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
PAGE = (RESULTS / "nyudv2-scratch.md").read_text(encoding="utf-8")
METRICS = {"mIoU": 2, "rmse": 3, "rmse_log": 3}
"""Decimals that the page prints."""
PAIRED, WELCH, WIDEST = "paired by seed", "Welch", "widest pairing"


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def tables(first: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of all tables whose first column has this title, by column, each with its section's heading."""
    section, titles = "", []
    for line in PAGE.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("## "):
            section = line[3:]
        if not line.startswith("|"):
            titles = []
        elif not titles:
            titles = cells
        elif titles[0] == first and not set(line) <= set("|- "):
            yield section, dict(zip(titles, cells, strict=True))


def start(section: str) -> str:
    return "pretrained" if section.startswith("From a backbone pretrained") else "scratch"


def experiments() -> list[dict[str, str]]:
    """The page's entry of each experiment and metric, in the columns of the CSV, without repetitions."""
    entries = []
    for section, row in tables("experiment"):
        for metric in METRICS:
            mean, plus, deviation = row.get(metric, "–").strip("()").partition(" ± ")
            if plus:
                entry = {"start": start(section), "experiment": row["experiment"], "steps": row.get("steps", "1500")}
                entry |= {"metric": metric, "mean": mean, "deviation": deviation, "seeds": row["seeds"]}
                entries.append(entry | {"also_input": "yes" if row[metric].startswith("(") else "no"})
    return [entry for index, entry in enumerate(entries) if entry not in entries[:index]]


def differences() -> list[dict[str, str]]:
    """Every difference that the page prints with each of its intervals, in the columns of the CSV."""
    entries = []
    for section, row in tables("comparison"):
        one, other = row["comparison"].split(" − ")
        intervals = {PAIRED if "seeds" in row else WELCH: row["95% interval"]}
        if "however seeds pair" in row:
            intervals[WIDEST] = row["however seeds pair"]
        for method, interval in intervals.items():
            low, high = interval.split(" … ")
            entry = {"start": start(section), "one": one, "other": other, "metric": row["metric"]}
            entry |= {"difference": row["difference"], "low": low, "high": high, "method": method}
            entries.append(entry)
    return entries


def read_csv(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value(entry: dict[str, str], experiment: str) -> dict[str, str]:
    """The saved entry of an experiment for the setting and metric of a difference."""
    candidates = [e for e in read_csv("nyudv2-scratch.csv") if all(e[key] == entry[key] for key in ("start", "metric"))]
    (result,) = [e for e in candidates if e["experiment"] == experiment]
    return result


def half_width(one: float, other: float, method: str) -> float:
    """Half the width of a 95 % interval of a difference, from the deviations of three seeds each."""
    if method == WIDEST:  # the deviation of a difference is at most the sum
        return float(t.ppf(0.975, 2)) * (one + other) / math.sqrt(3)
    a, b = one**2 / 3, other**2 / 3
    return float(t.ppf(0.975, (a + b) ** 2 / ((a**2 + b**2) / 2))) * math.sqrt(a + b)


def test_the_csv_files_are_the_pages_tables():
    assert experiments() == read_csv("nyudv2-scratch.csv")
    assert [{k: v.replace("−", "-") for k, v in entry.items()} for entry in differences()] == read_csv(
        "nyudv2-scratch-differences.csv"
    )
    assert {entry["seeds"] for entry in read_csv("nyudv2-scratch.csv")} == {"3"}


def test_differences_are_those_of_the_means():
    for entry in read_csv("nyudv2-scratch-differences.csv"):
        one, other = (number(value(entry, entry[side])["mean"]) for side in ("one", "other"))
        rounded = 1.5 * 10.0 ** -METRICS[entry["metric"]]  # three numbers were rounded
        assert number(entry["difference"]) == pytest.approx(one - other, abs=rounded + 1e-9), entry
        middle = (number(entry["low"]) + number(entry["high"])) / 2
        assert number(entry["difference"]) == pytest.approx(middle, abs=rounded + 1e-9), entry


def test_intervals_without_pairs_follow_from_means_and_deviations():
    unpaired = [entry for entry in read_csv("nyudv2-scratch-differences.csv") if entry["method"] != PAIRED]
    assert len(unpaired) > 20
    for entry in unpaired:
        deviations = (number(value(entry, entry[side])["deviation"]) for side in ("one", "other"))
        half = half_width(*deviations, entry["method"])
        step = 10.0 ** -METRICS[entry["metric"]]
        for bound, expected in (("low", -half), ("high", half)):
            expected += number(entry["difference"])
            assert number(entry[bound]) == pytest.approx(expected, abs=0.51 * step), entry


def test_a_verdict_is_its_intervals():
    for _, row in tables("comparison"):
        low, high = map(number, row["95% interval"].split(" … "))
        if low < 0 < high or 0 in (low, high):  # a bound that prints as zero may lie on either side
            assert row["verdict"].startswith("undetermined"), row
        else:
            assert row["verdict"] == ("better" if (low > 0) == (row["metric"] == "mIoU") else "worse"), row


def test_conclusions_quote_intervals_of_the_tables():
    """As (−1.9 to −0.6), the signs turned round where the sentence says "lower", millimetres for depth."""
    text = PAGE.partition("## Against the paper's claims")[2]
    quoted = re.findall(r"[(;\s]([+−]?[\d.]+) to\s+([+−]?[\d.]+)\b", text)
    assert len(quoted) > 25
    printed = [(number(entry["low"]), number(entry["high"])) for entry in read_csv("nyudv2-scratch-differences.csv")]
    for pair in quoted:
        assert any(is_quote(pair, *bounds) for bounds in printed), pair


def is_quote(pair: tuple[str, str], low: float, high: float) -> bool:
    for factor in (1, 1000):
        for bounds in ((low, high), (-high, -low)):
            digits = [len(text.partition(".")[2]) for text in pair]
            scaled = [factor * bound for bound in bounds]
            if all(
                abs(number(text) - bound) <= 0.5 * 10.0**-d + 1e-9
                for text, bound, d in zip(pair, scaled, digits, strict=True)
            ):
                return True
    return False


def test_the_number_of_intervals_is_the_pages():
    match = re.search(r"Of the (\d+)\s+intervals on this page", PAGE)
    assert match and int(match[1]) == sum(1 for _ in tables("comparison"))
