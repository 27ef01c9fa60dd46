"""The recorded behaviour, which a change must not alter unless it says so.

    python tests/golden/record.py          # writes facts.json beside this file, after a deliberate change

Three experiments of configs/scenes are trained for 20 steps on a tiny data set: the keys of every global batch, every
loss, the bytes of the teacher's label shards, and a result.json are recorded. So are the parameters of every shipped
network: of every configuration, and of the networks that no configuration names, with a tiny backbone.
"""

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[2]
FACTS = Path(__file__).parent / "facts.json"
SIZE = (64, 96)
ROWS = ("ummt-d", "mmmt-d", "umst-s")
UNIFORM = ("augment.zoom=[1.0]", "augment.jitter=0", "train.lr=1e-6")
"""Options with which losses agree between processors to 1 part in 10,000: processors round the pixels of resized and
recoloured images differently, and Adam turns almost zero gradients into full steps."""
UNCONFIGURED = {"fpn": "test_efficientnet", "dpt": "test_vit"}
"""The networks that no shipped configuration names, each with a backbone."""
ROUNDING = "--rounding"
TEACHER, EVALUATED = "mmmt-d", "ummt-d"


def machine() -> dict[str, Any]:
    """The properties of this machine on which the last bits of a sum depend, as far as they are known, and how it
    rounds: libraries choose an order of summation by more than a processor's name and instructions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    facts = sorted({line for line in lines if line.startswith(("model", "vendor_id", "flags", "stepping"))})
    return {
        "torch": torch.__version__,
        "processor": f"{platform.machine()} {hashlib.sha256(chr(10).join(facts).encode()).hexdigest()[:16]}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "rounding": subprocess.check_output([sys.executable, __file__, ROUNDING], text=True).strip(),
    }


def rounding() -> str:
    """The hash of a network after a few steps that need nothing of this repository; for a process of its own."""
    import timm
    from torch.nn import functional

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    backbone = timm.create_model("hrnet_w18_small", features_only=True, out_indices=(1, 2, 3, 4), feature_location="")
    channels = backbone.feature_info.channels()
    decoder = torch.nn.ModuleList(
        torch.nn.Sequential(
            torch.nn.Conv2d(width, 64, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(64),
            torch.nn.ReLU(),
            torch.nn.Conv2d(64, 40, 1),
        )
        for width in (*channels, sum(channels))
    )
    optimizer = torch.optim.Adam([*backbone.parameters(), *decoder.parameters()], lr=1e-6)
    digest = hashlib.sha256()
    for _ in range(3):
        rgb = torch.rand(4, 3, *SIZE, generator=generator).to(memory_format=torch.channels_last)
        features = backbone(rgb)
        features.append(torch.cat([functional.interpolate(x, features[0].shape[2:]) for x in features], 1))
        loss = torch.zeros(())
        for head, x in zip(decoder, features, strict=True):
            logits = functional.interpolate(head(x), SIZE, mode="bilinear")
            target = torch.randint(0, 40, (4, *SIZE), generator=generator)
            loss = loss + functional.cross_entropy(logits, target) + logits.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for parameter in (*backbone.parameters(), *decoder.parameters()):
            digest.update(parameter.detach().numpy().tobytes() + parameter.grad.numpy().tobytes())
    return digest.hexdigest()[:16]


def experiments(folder: Path) -> dict[str, Any]:
    """The recorded behaviour of the three experiments, which are trained in ``folder``."""
    from shards.pack import pack
    from shards.sources.scenes import Scenes
    from trainer.evaluatestage import evaluate
    from trainer.experiment import Experiment
    from trainer.pseudolabels.stage import label
    from trainer.trainstage import train

    torch.set_num_threads(1)  # sums differ in the last bits between numbers of threads
    pack(Scenes(24, 6, SIZE), folder / "data", size=SIZE, samples_per_shard=8)
    facts: dict[str, Any] = {"orders": {}, "losses": {}}
    for row in ROWS:
        overrides = [
            *(f"data.path={folder / 'data'}", "data.num_workers=0", f"run.root={folder / 'runs'}"),
            *UNIFORM,
            *("labels.semseg=8", "labels.depth=24", "train.global_batch_size=4", "train.steps=20"),
            *("train.trace=true", "train.log_every=1"),
        ]
        experiment = Experiment(REPOSITORY / f"configs/scenes/{row}.yaml", overrides)
        train(experiment)
        facts["orders"][row] = [line["keys"] for line in _lines(experiment.folder / "order.jsonl")]
        facts["losses"][row] = [line["loss"]["total"] for line in _lines(experiment.folder / "metrics.jsonl")]
        if row == TEACHER:
            label(experiment)
            shards = sorted(experiment.labels.glob("*.tar"))
            facts["label shards"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}
        if row == EVALUATED:
            result = evaluate(experiment).to_json()
            facts["result"] = {key: value for key, value in result.items() if key not in ("command", "environment")}
            facts["result"]["asked"] = {
                k: v for k, v in result["asked"].items() if k not in ("checkpoints", "manifest")
            }
    return json.loads(json.dumps(facts))


def networks() -> dict[str, str]:
    """The number of parameters and tensors, and a hash of names and shapes, by configuration or name of a network."""
    from shards.tasks import Task, palette
    from trainer.configfile import load

    all_tasks = {
        "semseg": Task("semseg", "classes", tuple(map(str, range(40))), palette(40)),
        "depth": Task("depth", "scalar", scale=0.001, unit="m"),
        "inverse_depth": Task("inverse_depth", "scalar", scale=0.001, unit="1/m"),
        "normals": Task("normals", "unit_vector"),
    }
    parameters: dict[str, str] = {}
    by_description: dict[str, str] = {}  # several rows have the same network
    for path in sorted((REPOSITORY / "configs").glob("*/*.yaml")):
        if path.stem == "base" or path.stem.startswith("base-") or path.parent.name == "engine":
            continue
        config = load(path)
        model, input_tasks = config.model, tuple(all_tasks[name] for name in config.inputs if name != "rgb")
        description: dict[str, Any] = {
            "backbone": model.backbone,
            "inputs": config.inputs,
            "tasks": [all_tasks[name] for name in config.tasks],
            "input_tasks": input_tasks,
            "statistics": {task.name: (1.0, 1.0) for task in input_tasks if task.storage.input_problem(None)},
            "fusion": model.fusion,
            "decoder": model.decoder,
            "widths": None if model.widths is None else tuple(model.widths),
        }
        row = f"{path.parent.name}/{path.stem}"
        if repr(description) not in by_description:
            by_description[repr(description)] = _parameters(description)
        parameters[row] = by_description[repr(description)]
    tasks, inputs = [all_tasks["semseg"], all_tasks["depth"]], ["rgb", "depth"]
    for name, backbone in UNCONFIGURED.items():
        description = {"name": name, "backbone": backbone, "inputs": inputs, "tasks": tasks}
        parameters[name] = _parameters(description | {"statistics": {"depth": (1.0, 1.0)}})
    return parameters


def _parameters(description: dict[str, Any]) -> str:
    """The number of a network's parameters and tensors, and a hash of all names and shapes."""
    from trainer.model.create import create_model
    from trainer.model.meta import on_meta

    with on_meta():
        network = create_model(**description)
    tensors = network.state_dict()
    names = "\n".join(f"{name} {list(tensor.shape)}" for name, tensor in sorted(tensors.items()))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return f"{parameters} parameters, {len(tensors)} tensors, {digest}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    if sys.argv[1:] == [ROUNDING]:
        print(rounding())
        return
    with tempfile.TemporaryDirectory() as folder:
        facts = {"machine": machine(), **experiments(Path(folder)), "networks": networks()}
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"written: {FACTS}")


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
