"""Weights that backbones start from, and every error of a file or the hub."""

import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from shards.errors import UserError
from shards.tasks import Task
from trainer.model.mtinet import MTINet
from trainer.model.network import Architecture, Network, build
from trainer.model.pretrained import match_normalisation, timm
from trainer.runs import checkpoint

BACKBONE = "hrnet_w18_small"
HALF = (0.5, 0.5, 0.5)
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
TEACHER = Architecture(BACKBONE, ("rgb", "depth"), (DEPTH,), (DEPTH,), statistics={"depth": (2.0, 1.0)})
EARLY = Architecture(BACKBONE, ("rgb", "depth"), (DEPTH,), (DEPTH,), "early", {"depth": (2.0, 1.0)})


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """As timm publishes them: the whole classifier."""
    return timm.create_model(BACKBONE).state_dict()


@pytest.fixture
def file(weights, tmp_path) -> Path:
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def assert_starts_from(weights: dict[str, torch.Tensor], network: Network) -> None:
    for branch in network.backbones.values():
        for name, value in branch.state_dict().items():
            if name != "conv1.weight":
                assert torch.equal(value, weights[name]), name


def test_every_modality_starts_from_the_same_file(weights, file):
    network = build(TEACHER, pretrained=file)
    assert_starts_from(weights, network)
    stem = weights["conv1.weight"]
    rgb, depth = (network.get_parameter(f"backbones.{name}.conv1.weight") for name in ("rgb", "depth"))
    assert torch.equal(rgb, stem)
    torch.testing.assert_close(depth, stem[:, :2] * 3 / 2)  # as strong an answer to two channels as to three


def test_early_fusion_adapts_the_first_convolution_to_four_channels(weights, file):
    network = build(EARLY, pretrained=str(file))
    assert_starts_from(weights, network)
    stem = weights["conv1.weight"]
    torch.testing.assert_close(
        network.get_parameter("backbones.rgb_depth.conv1.weight"), torch.cat([stem, stem[:, :1]], 1) * 3 / 4
    )


def test_a_backbone_of_classes_starts_from_the_same_file_too(weights, file):
    semseg = Task("semseg", "classes", classes=tuple("abcde"), colours=((0, 0, 0),) * 5)
    network = build(Architecture(BACKBONE, ("rgb", "semseg"), (DEPTH,), (semseg,)), pretrained=file)
    assert_starts_from(weights, network)
    stem = weights["conv1.weight"]  # five classes and "no label" are twice three channels
    torch.testing.assert_close(network.get_parameter("backbones.semseg.conv1.weight"), torch.cat([stem, stem], 1) / 2)


def test_a_network_of_ours_can_start_another(tmp_path):
    first = build(TEACHER)
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    second = build(TEACHER, pretrained=tmp_path / "model.safetensors")
    rgb = first.get_submodule("backbones.rgb").state_dict()
    assert_starts_from(rgb, second)
    assert torch.equal(second.get_parameter("backbones.rgb.conv1.weight"), rgb["conv1.weight"])


def test_rgb_is_normalised_as_timm_notes_for_the_weights():
    lite = replace(TEACHER, backbone="tf_efficientnet_lite0")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for source, inputs, expected in (
        (True, None, (HALF, HALF)),
        (True, ["rgb"], (HALF, HALF)),
        (True, ["depth"], (mean, std)),  # RGB's backbone is then from scratch
        (False, None, (mean, std)),
    ):
        architecture = match_normalisation(lite, source, inputs)
        assert (architecture.rgb_mean, architecture.rgb_std) == expected
    assert match_normalisation(TEACHER, True, None) == TEACHER, "ImageNet's"
    assert match_normalisation(replace(lite, backbone="tf_efficientnet_lite0.in1k"), True, None).rgb_mean == HALF
    assert match_normalisation(replace(lite, fusion="early"), True, ["depth"]).rgb_mean == HALF, "one backbone for both"


def test_rgb_is_normalised_as_the_run_did_that_the_weights_are_of(tmp_path):
    """This may differ from the normalisation of the backbone's published weights."""
    lite = replace(TEACHER, backbone="tf_efficientnet_lite0", decoder="heads")
    for mean in ((0.485, 0.456, 0.406), (0.1, 0.2, 0.3)):
        architecture = replace(lite, rgb_mean=mean)
        checkpoint.export(tmp_path / "last", build(architecture).state_dict(), architecture, 1)
        network = build(lite, pretrained=tmp_path / "last/model.safetensors")
        assert network.architecture.rgb_mean == mean
        torch.testing.assert_close(network.encoders["rgb"].mean.flatten(), torch.tensor(mean))
    moved = shutil.copy(tmp_path / "last/model.safetensors", tmp_path / "model.safetensors")
    message = r"model\.safetensors: pretrained: does not say how its network normalises RGB; give .*model\.json"
    with pytest.raises(UserError, match=message):
        build(lite, pretrained=moved)
    (tmp_path / "model.json").write_text(json.dumps({"sha256": "of another", "architecture": architecture.to_json()}))
    with pytest.raises(UserError, match=message):
        build(lite, pretrained=moved)


def test_weights_that_no_backbone_would_start_from(file):
    message = r"pretrained_inputs: no backbone of mtinet reads semseg; name .*\(rgb, depth\)"
    with pytest.raises(UserError, match=message):
        build(TEACHER, pretrained=file, pretrained_inputs=["semseg"])


def test_names_that_timm_joins_otherwise_are_found(tmp_path):
    published = timm.create_model("resnet10t").state_dict()  # stem conv1.0
    save_file(published, tmp_path / "model.safetensors")
    network = build(Architecture("resnet10t", ("rgb",), (DEPTH,)), pretrained=tmp_path / "model.safetensors")
    assert torch.equal(network.get_parameter("backbones.rgb.conv1.0.weight"), published["conv1.0.weight"])
    published = timm.create_model("convnext_atto").state_dict()  # stages.0.blocks becomes stages_0.blocks
    save_file(published, tmp_path / "model.safetensors")
    network = build(Architecture("convnext_atto", ("rgb",), (DEPTH,)), pretrained=tmp_path / "model.safetensors")
    for flat, dotted in (("stem_0", "stem.0"), ("stages_3.blocks.1.conv_dw", "stages.3.blocks.1.conv_dw")):
        assert torch.equal(network.get_parameter(f"backbones.rgb.{flat}.weight"), published[f"{dotted}.weight"])


def test_files_without_batch_counters_are_read(weights, tmp_path):
    old = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "model.safetensors")
    assert_starts_from(weights, build(TEACHER, pretrained=tmp_path / "model.safetensors"))


LAYER = "stage4.0.branches.0.0.conv1.weight"


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({LAYER: None}, LAYER, "is missing"),
        ({LAYER: torch.zeros(2, 2)}, LAYER, r"has shape \(2, 2\), where hrnet_w18_small has \(16, 16, 3, 3\)"),
        ({"conv1.weight": torch.zeros(64, 5, 3, 3)}, "conv1.weight", "has shape"),
        # a deeper HRNet has everything that this one has, and more
        ({"stage4.0.branches.0.7.conv1.weight": torch.zeros(1)}, "stage4.0.branches.0.7.conv1.weight", "is not a"),
    ],
)
def test_weights_of_another_network_are_refused(weights, tmp_path, change, key, message):
    changed = {name: value for name, value in {**weights, **change}.items() if value is not None}
    save_file(changed, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=message) as error:
        build(TEACHER, pretrained=tmp_path / "model.safetensors")
    assert error.value.key == key and error.value.file == tmp_path / "model.safetensors"


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def test_nothing_is_unpickled(tmp_path):
    bomb = Bomb(tmp_path / "exploded")
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(bomb))
        with pytest.raises(UserError) as error:
            build(TEACHER, pretrained=tmp_path / name)
        assert error.value.file == tmp_path / name and error.value.hint
        assert "weights_only=True" in error.value.hint or name.endswith(".safetensors")
    assert not (tmp_path / "exploded").exists()


def test_a_word_that_is_none_of_the_sources(tmp_path):
    message = "pretrained: 'packages' is not a valid source of weights; use true (the hub), false, package, or the path"
    with pytest.raises(UserError, match=re.escape(message)):
        build(TEACHER, pretrained="packages")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        build(TEACHER, pretrained=tmp_path / "absent.safetensors")


@pytest.fixture
def requests(monkeypatch, file) -> list[tuple[str, str]]:
    """A list that grows: the requests to the hub, which answers with ``file``."""
    calls: list[tuple[str, str]] = []

    def download(repository, name, local_files_only=False):
        calls.append((repository, name))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return calls


def test_hub_weights_are_the_hub_files(weights, requests):
    assert_starts_from(weights, build(TEACHER, pretrained=True))
    assert requests == [("timm/hrnet_w18_small.gluon_in1k", "model.safetensors")]


def test_a_name_of_weights_is_a_backbone_that_asks_for_those_weights(weights, requests):
    """A model may have several sets of published weights; its bare name stands for timm's default."""
    tagged = [replace(architecture, backbone=f"{BACKBONE}.ms_in1k") for architecture in (TEACHER, EARLY)]
    teacher, early = [build(architecture, pretrained=True) for architecture in tagged]
    assert requests == [(f"timm/{BACKBONE}.ms_in1k", "model.safetensors")] * 2
    assert_starts_from(weights, teacher)
    stem = weights["conv1.weight"]  # of two channels and of four: the first convolution is found under that name too
    torch.testing.assert_close(teacher.get_parameter("backbones.depth.conv1.weight"), stem[:, :2] * 3 / 2)
    assert early.get_parameter("backbones.rgb_depth.conv1.weight").shape[1] == 4

    plain = MTINet(TEACHER)
    plain.load_state_dict(teacher.state_dict())  # the same network
    assert Architecture.from_json(json.loads(json.dumps(tagged[0].to_json()))) == tagged[0]


def test_an_unreachable_hub_says_what_to_download(monkeypatch):
    def absent(repository, name, local_files_only=False):
        assert local_files_only, "the download retries for long, so it is not tried"
        raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")

    def unreachable(url, timeout):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    with pytest.raises(UserError) as error:
        build(TEACHER, pretrained=True)
    assert "timm/hrnet_w18_small.gluon_in1k/resolve/main/model.safetensors" in str(error.value)
    assert "set pretrained=PATH/model.safetensors" in str(error.value)


def test_a_model_without_published_weights_says_so():
    with pytest.raises(UserError, match="no weights"):
        build(Architecture("resnet50t", ("rgb",), (DEPTH,)), pretrained=True)
