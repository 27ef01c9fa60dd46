"""Random damage to a data set's files: reading returns what was written, or raises an error of one line.

Damage has two forms: changed bytes, which hashes detect, and changed values in the JSON files with hashes that agree,
as in a forged data set. In both cases reading ends soon, in bounded memory, and raises nothing but :class:`UserError`.
"""

import gc
import json
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealing import seal
from tiny import DEPTH, SEMSEG, Tiny

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.inspect import verify
from shards.manifest import NAME, Manifest
from shards.pack import pack
from shards.stream import Batches
from trainer.sections import Augment
from trainer.trainingdata import TrainingData

MAX_SECONDS = 20.0
"""The longest that an example may take; on an idle machine it takes some hundredths of a second."""
EXTRA_MEMORY = 2 << 30
"""Bytes of address space that an example may use in addition to what is in use."""
FILES = [NAME, "train-000000.tar", "train-000001.tar", "train-000000.index.json", "train-000001.index.json"]
ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 7, 10**6, 2**31, 2**63, 10**30, -(2**63), 0.5, 1e308, float("inf"), float("nan")),
    *("", "x", "..", "../x.tar", "/etc/passwd", "\x00", "\ud800", "rgb.png", "a" * 5000, [], {}, [[]], [None] * 3),
]


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(Tiny(6, 2), tmp_path_factory.mktemp("whole"), samples_per_shard=3).folder


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return the data truncated, or with bytes flipped, swapped, duplicated, removed, overwritten or appended."""
    changed = bytearray(data)
    first, last = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    size = rng.choice([1, 4, 100, 512, 5000])
    match rng.randrange(7):
        case 0:
            del changed[first:]
        case 1:
            for _ in range(rng.choice([1, 3, 50])):
                changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            changed[first : first + size], changed[last : last + size] = (
                data[last : last + size],
                data[first : first + size],
            )
        case 3:
            changed[first:first] = data[last : last + size]
        case 4:
            del changed[first : first + size]
        case 5:
            changed[first : first + size] = bytes([rng.choice([0, 32, 48, 57, 255])]) * size
        case 6:
            changed += rng.randbytes(size)
    return bytes(changed)


def damage_json(value: Any, rng: random.Random) -> Any:
    """Replace, remove, duplicate or move one value anywhere inside, in place."""
    locations: list[tuple[Any, Any]] = []

    def walk(container: Any) -> None:
        for key, child in container.items() if isinstance(container, dict) else enumerate(container):
            locations.append((container, key))
            if isinstance(child, dict | list):
                walk(child)

    walk(value)
    container, key = rng.choice(locations)
    other_container, other_key = rng.choice(locations)
    match rng.randrange(6):
        case 0 | 1 | 2:
            container[key] = rng.choice(ODD_VALUES)
        case 3:
            del container[key]
        case 4:
            container[key] = json.loads(json.dumps(other_container[other_key]))
        case 5:
            if isinstance(container, list):
                rng.shuffle(container)
            else:
                container[rng.choice(["x", "", "..", "rgb.png", "semseg"])] = container.pop(key)
    return value


def damage(folder: Path, seed: int) -> str:
    """Damage one or two files of a data set; return a description."""
    rng, descriptions = random.Random(seed), []
    for name in rng.sample(FILES, rng.choice([1, 1, 2])):
        path, edits_json = folder / name, name.endswith(".json") and rng.random() < 0.7
        if edits_json:
            path.write_text(json.dumps(damage_json(json.loads(path.read_text()), rng)))
        else:
            path.write_bytes(damage_bytes(path.read_bytes(), rng))
        descriptions.append(f"{name} {'json' if edits_json else 'bytes'}")
    if rng.random() < 0.6 and NAME not in " ".join(descriptions):
        seal(folder)
        descriptions.append("sealed")
    return ", ".join(descriptions)


def read_all(folder: Path) -> None:
    data = ShardDataset(folder, "train")
    for number in range(len(data)):
        data[number]


def train(folder: Path) -> None:
    """Read everything that a training run reads in two epochs."""
    names = [SEMSEG.name, DEPTH.name]
    data = TrainingData(ShardDataset(folder, "train"), ["rgb"], names, augment=Augment(), num_workers=1)
    for batch in data.batches(Batches(2), 0, 4):
        if isinstance(batch, UserError):
            raise batch


ACTIONS: list[Callable[[Path], Any]] = [lambda folder: verify(Manifest.load(folder)), read_all, train]


def check(undamaged: Path, copy: Path, seed: int) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(undamaged, copy)
    description = damage(copy, seed)
    errors = []
    for action in ACTIONS:
        start = time.monotonic()
        try:
            action(copy)
            errors.append(None)
        except UserError as error:
            errors.append(error)
            assert "\n" not in str(error).strip(), description
        assert time.monotonic() - start < MAX_SECONDS, description
    unchanged = all((copy / name).read_bytes() == (undamaged / name).read_bytes() for name in FILES)
    if not unchanged and "sealed" not in description and NAME not in description:
        assert errors[0], f"{description}: verify found nothing"


@pytest.fixture
def limited_memory(monkeypatch: pytest.MonkeyPatch):
    """Limit the memory to little more than is in use: allocating a forged size fails."""
    gc.collect()
    used_memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old_limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used_memory + EXTRA_MEMORY, old_limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old_limit)


SUPPRESSED_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=SUPPRESSED_CHECKS, database=None)
@given(seed=st.integers(0, 2**32))
def test_damage_is_one_line(undamaged, tmp_path, limited_memory, seed):
    check(undamaged, tmp_path / "d", seed)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None, suppress_health_check=SUPPRESSED_CHECKS, database=None)
@given(seed=st.integers(0, 2**32))
def test_much_damage_is_one_line(undamaged, tmp_path, limited_memory, seed):
    check(undamaged, tmp_path / "d", seed)


@pytest.mark.parametrize("name", [NAME, "train-000000.index.json"])
@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "9" * 100_000, "", "null", '"' + "a" * 10**6, "\xff"]
)
def test_files_that_are_no_sensible_json(name, text, undamaged, tmp_path, limited_memory):
    folder = Path(shutil.copytree(undamaged, tmp_path / "d"))
    (folder / name).write_text(text)
    if name != NAME:
        seal(folder)
    for action in ACTIONS:
        with pytest.raises(UserError):
            action(folder)
