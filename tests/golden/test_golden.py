"""The recorded behaviour: a change that alters any of it says so, and records it again (record.py)."""

import json
from typing import Any

import pytest
from record import FACTS, ROWS, UNCONFIGURED, experiments, machine, networks

from trainer.model.network import NETWORKS

pytestmark = pytest.mark.slow

RECORDED: dict[str, Any] = json.loads(FACTS.read_text())


@pytest.fixture(scope="module")
def same_rounding() -> bool:
    """Whether sums round as they did where the facts were recorded, so that everything is compared exactly."""
    return machine() == RECORDED["machine"]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return experiments(tmp_path_factory.mktemp("golden"))


def test_the_order_of_samples(facts):
    assert facts["orders"] == RECORDED["orders"]


@pytest.mark.parametrize("row", ROWS)
def test_losses(facts, row, same_rounding):
    expected = RECORDED["losses"][row]
    assert facts["losses"][row] == (expected if same_rounding else pytest.approx(expected, rel=1e-4))


def test_label_shards(facts, same_rounding):
    assert facts["label shards"].keys() == RECORDED["label shards"].keys()
    if not same_rounding:
        pytest.skip(f"bytes were recorded on another machine: {RECORDED['machine']}")
    assert facts["label shards"] == RECORDED["label shards"]


def test_a_result(facts, same_rounding):
    if same_rounding:
        assert facts["result"] == RECORDED["result"]
    else:
        assert close(facts["result"], RECORDED["result"])


def close(actual: Any, expected: Any) -> bool:
    """Whether JSON values have the same structure, and numbers that differ by rounding only: rounding changes the class
    of a few pixels in a network that is hardly trained."""
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(close(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(close, actual, expected))
    return actual == (pytest.approx(expected, rel=1e-2, abs=1e-2) if isinstance(expected, float) else expected)


def test_the_parameters_of_every_network_that_is_shipped():
    assert NETWORKS.keys() == {"mtinet", *UNCONFIGURED}
    assert networks() == RECORDED["networks"]
