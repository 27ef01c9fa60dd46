"""The parts of the network, each against its equation."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from trainer.model.blocks import SqueezeExcitation
from trainer.model.mtinet import FeaturePropagation, MultiModalDistillation, attend
from trainer.model.pyramid import fuse


def test_attention_is_a_softmax_over_tasks_at_every_channel_and_pixel():
    logits = torch.randn(2, 3 * 4, 5, 6)
    masks = torch.stack(attend(logits, 3))
    assert masks.shape == (3, 2, 4, 5, 6)
    torch.testing.assert_close(masks.sum(0), torch.ones(2, 4, 5, 6))
    torch.testing.assert_close(masks[1], logits.view(2, 3, 4, 5, 6).softmax(1)[:, 1])


def propagation(tasks: str, channels: int = 32) -> tuple[Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    module = FeaturePropagation(tasks, channels).eval()
    return module, {task: torch.randn(2, channels, 4, 4) for task in sorted(tasks)}


def test_propagation_follows_its_equations():
    module, features = propagation("abc")
    joined = torch.cat([features[task] for task in "abc"], 1)
    masks = module.attention(joined).unflatten(1, (3, 32)).softmax(1)
    stacked = torch.stack([features[task] for task in "abc"], 1)
    shared = module.shared((masks * stacked).flatten(1, 2))
    for task, received in module(features).items():
        torch.testing.assert_close(received, features[task] + module.excitation[task](shared))


def test_every_task_receives_the_whole_shared_feature():
    module, features = propagation("abc")
    for task in "abc":
        module.excitation[task] = nn.Identity()
    received = module(features)
    gains = [received[task] - features[task] for task in "abc"]
    for gain in gains[1:]:
        torch.testing.assert_close(gain, gains[0])


def test_a_single_task_receives_its_own_feature_reduced():
    module, features = propagation("a")
    expected = features["a"] + module.excitation["a"](module.shared(features["a"]))
    torch.testing.assert_close(module(features)["a"], expected)


def test_propagation_does_not_depend_on_the_order_of_tasks():
    module, features = propagation("abc")
    other, _ = propagation("cab")
    state, order = module.state_dict(), torch.tensor([2, 0, 1])

    def blocks(name: str, dim: int) -> None:
        parts = state[name].unflatten(dim, (3, -1))
        state[name] = parts.index_select(dim, order).flatten(dim, dim + 1)

    for name in ("attention.0.conv1", "attention.0.shortcut.0", "shared.conv1", "shared.shortcut.0"):
        blocks(f"{name}.weight", 1)
    blocks("attention.2.weight", 0)
    blocks("attention.2.bias", 0)
    other.load_state_dict(state)
    expected, received = module(features), other(features)
    for task in "abc":
        torch.testing.assert_close(received[task], expected[task])
    assert not torch.allclose(received["a"], received["b"])


def test_distillation_follows_its_equation():
    torch.manual_seed(0)
    module: Any = MultiModalDistillation("abc", 4)
    features = {task: torch.randn(2, 4, 5, 6) for task in "abc"}
    expected = features["b"].clone()
    for source, place in (("a", 0), ("c", 1)):  # b is the first receiver of what a says, the second of c's
        gate, value = module.messages[source].weight[8 * place :][:8].split(4)
        x = features[source]
        expected += torch.sigmoid(F.conv2d(x, gate, padding=1)) * F.conv2d(x, value, padding=1)
    torch.testing.assert_close(module(features)["b"], expected)


def test_squeeze_excitation_weighs_channels_by_their_means():
    torch.manual_seed(0)
    module, x = SqueezeExcitation(64), torch.rand(2, 64, 3, 3) + 0.5
    nn.init.ones_(module.squeeze.bias)  # its few hidden units may all be dead by chance
    weights = module(x) / x
    torch.testing.assert_close(weights, weights[..., :1, :1].expand_as(x))
    torch.testing.assert_close(module(x.flip(-1)), module(x).flip(-1))
    assert not torch.allclose(weights[0], weights[1])


def test_fusion_adds_at_each_scale_and_leaves_one_modality_alone():
    one, two, three = ([torch.randn(1, 2, 4 >> s, 4 >> s) for s in range(2)] for _ in range(3))
    assert all(fused is x for fused, x in zip(fuse([one]), one, strict=True))
    for s in range(2):
        torch.testing.assert_close(fuse([one, two, three])[s], one[s] + two[s] + three[s])
