"""The optimizer step's component: what it does before the first step of a continued run."""

from dataclasses import replace

import pytest

from trainer.trainstage import trainer_of


@pytest.mark.parametrize(("compiled", "shape"), [(True, (4, 3, 32, 64)), (False, (2, 3, 64, 64))])
def test_a_compiled_network_is_warmed_up_with_a_batch_of_its_own_size(make, compiled, shape):
    """Of another size, it would be compiled for that one, and then for any."""
    updater, seen = trainer_of(make("plain")).updater, []
    updater.engine.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0]["rgb"].shape)))
    updater.options = replace(updater.options, compile=compiled)
    updater.warm_up()
    assert seen == [shape] * 2
