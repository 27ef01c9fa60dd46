"""Behaviour as it was recorded: a change that moves any of it says so, and records it anew (record.py)."""

import json
from typing import Any

import pytest
from record import FACTS, ROWS, UNCONFIGURED, experiments, machine, networks

from trainer.model.network import NETWORKS

pytestmark = pytest.mark.slow

RECORDED: dict[str, Any] = json.loads(FACTS.read_text())
SAME_MACHINE = machine() == RECORDED["machine"]
"""Where sums round alike, everything is compared exactly."""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return experiments(tmp_path_factory.mktemp("golden"))


def test_the_order_of_samples(facts):
    assert facts["orders"] == RECORDED["orders"]


@pytest.mark.parametrize("row", ROWS)
def test_losses(facts, row):
    expected = RECORDED["losses"][row]
    assert facts["losses"][row] == (expected if SAME_MACHINE else pytest.approx(expected, rel=1e-4))


def test_label_shards(facts):
    assert facts["label shards"].keys() == RECORDED["label shards"].keys()
    if not SAME_MACHINE:
        pytest.skip(f"bytes were recorded on another machine: {RECORDED['machine']}")
    assert facts["label shards"] == RECORDED["label shards"]


def test_a_result(facts):
    if SAME_MACHINE:
        assert facts["result"] == RECORDED["result"]
    else:
        assert close(facts["result"], RECORDED["result"])


def close(found: Any, expected: Any) -> bool:
    """Whether JSON values have the same form, and numbers that differ by rounding: of an untrained network a few pixels
    are of another class at once."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, rel=1e-2, abs=1e-2) if isinstance(expected, float) else expected)


def test_the_parameters_of_every_network_that_is_shipped():
    assert NETWORKS.keys() == {"mtinet", *UNCONFIGURED}
    assert networks() == RECORDED["networks"]
