"""Random damage to a data set's files: whoever reads them gets what was written, or one line that says what is wrong.

Damage comes in two forms: of the bytes, which hashes find, and of what the JSON files mean, with hashes that agree, as
whoever forges a data set would leave it. Either way reading ends soon, in bounded memory, and with nothing but a
:class:`UserError`.
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
from trainer.config import Augment
from trainer.trainingdata import TrainingData

SECONDS = 20.0
"""An example may take this long; alone on a machine it takes a few hundredths."""
ROOM = 2 << 30
"""Bytes of address space that an example may take beside what there is."""
FILES = [NAME, "train-000000.tar", "train-000001.tar", "train-000000.index.json", "train-000001.index.json"]
ODD: list[Any] = [
    *(None, True, -1, 0, 1, 7, 10**6, 2**31, 2**63, 10**30, -(2**63), 0.5, 1e308, float("inf"), float("nan")),
    *("", "x", "..", "../x.tar", "/etc/passwd", "\x00", "\ud800", "rgb.png", "a" * 5000, [], {}, [[]], [None] * 3),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(Tiny(6, 2), tmp_path_factory.mktemp("whole"), samples_per_shard=3).folder


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Truncated, flipped, swapped, duplicated, moved, or filled bytes."""
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
    """One value somewhere within is replaced, taken away, doubled or moved."""
    places: list[tuple[Any, Any]] = []

    def walk(of: Any) -> None:
        for key, inner in of.items() if isinstance(of, dict) else enumerate(of):
            places.append((of, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(value)
    of, key = rng.choice(places)
    other, its = rng.choice(places)
    match rng.randrange(6):
        case 0 | 1 | 2:
            of[key] = rng.choice(ODD)
        case 3:
            del of[key]
        case 4:
            of[key] = json.loads(json.dumps(other[its]))
        case 5:
            if isinstance(of, list):
                rng.shuffle(of)
            else:
                of[rng.choice(["x", "", "..", "rgb.png", "semseg"])] = of.pop(key)
    return value


def damage(folder: Path, seed: int) -> str:
    """Damage one or two files of a data set; says how."""
    rng, said = random.Random(seed), []
    for name in rng.sample(FILES, rng.choice([1, 1, 2])):
        path, meaning = folder / name, name.endswith(".json") and rng.random() < 0.7
        if meaning:
            path.write_text(json.dumps(damage_json(json.loads(path.read_text()), rng)))
        else:
            path.write_bytes(damage_bytes(path.read_bytes(), rng))
        said.append(f"{name} {'json' if meaning else 'bytes'}")
    if rng.random() < 0.6 and NAME not in " ".join(said):
        seal(folder)
        said.append("sealed")
    return ", ".join(said)


def read_all(folder: Path) -> None:
    data = ShardDataset(folder, "train")
    for number in range(len(data)):
        data[number]


def train(folder: Path) -> None:
    """Everything that a training run reads, for two epochs."""
    names = [SEMSEG.name, DEPTH.name]
    data = TrainingData(ShardDataset(folder, "train"), ["rgb"], names, augment=Augment(), num_workers=1)
    for batch in data.batches(Batches(2), 0, 4):
        if isinstance(batch, UserError):
            raise batch


ACTIONS: list[Callable[[Path], Any]] = [lambda folder: verify(Manifest.load(folder)), read_all, train]


def check(whole: Path, place: Path, seed: int) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    said = damage(place, seed)
    errors = []
    for action in ACTIONS:
        began = time.monotonic()
        try:
            action(place)
            errors.append(None)
        except UserError as error:
            errors.append(error)
            assert "\n" not in str(error).strip(), said
        assert time.monotonic() - began < SECONDS, said
    same = all((place / name).read_bytes() == (whole / name).read_bytes() for name in FILES)
    if not same and "sealed" not in said and NAME not in said:
        assert errors[0], f"{said}: verify found nothing"


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch):
    """Little more memory than there is: who believes a forged size finds none."""
    gc.collect()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=UNHURRIED, database=None)
@given(seed=st.integers(0, 2**32))
def test_damage_is_one_line(whole, tmp_path, limited, seed):
    check(whole, tmp_path / "d", seed)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None, suppress_health_check=UNHURRIED, database=None)
@given(seed=st.integers(0, 2**32))
def test_much_damage_is_one_line(whole, tmp_path, limited, seed):
    check(whole, tmp_path / "d", seed)


@pytest.mark.parametrize("name", [NAME, "train-000000.index.json"])
@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "9" * 100_000, "", "null", '"' + "a" * 10**6, "\xff"]
)
def test_files_that_are_no_sensible_json(name, text, whole, tmp_path, limited):
    folder = Path(shutil.copytree(whole, tmp_path / "d"))
    (folder / name).write_text(text)
    if name != NAME:
        seal(folder)
    for action in ACTIONS:
        with pytest.raises(UserError):
            action(folder)
