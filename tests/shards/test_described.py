"""What makes two functions or objects of a user differ."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.described import describe


def above(limit, value):
    return value > limit


class Above:
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, value):
        return value > self.limit

    def below(self, value):
        return value < self.limit


class Slotted(Above):
    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Guarded:
    def __init__(self):
        self.lock = threading.Lock()
        self.own = self


def nested(limit):
    def inner(value):
        return value > limit

    return inner


def by_default(limit):
    def inner(value, limit=limit):
        return value > limit

    return inner


def decorated(limit):
    def decorator(function):
        @wraps(function)
        def inner(value):
            return function(limit, value)

        return inner

    return decorator


MAKERS: list[Callable] = [
    lambda limit: partial(above, limit),
    lambda limit: partial(above, limit=limit),
    lambda limit: partial(partial(above, 1), value=limit),
    lambda limit: partial(Above(limit)),
    Above,
    Slotted,
    lambda limit: Above({"of": [limit, {limit}]}),
    lambda limit: Above(np.full(3, limit)),
    lambda limit: Above(torch.full((3,), limit)),
    lambda limit: Above(np.full(3, limit).tolist() * 200),
    lambda limit: Above(limit).below,
    nested,
    by_default,
    lambda limit: decorated(limit)(above),
    lambda limit: nested(Above(limit)),
    lambda limit: torch.nn.Linear(2, 2).requires_grad_().double().apply(lambda m: m.weight.data.fill_(limit)).weight,
]


@pytest.mark.parametrize("make", MAKERS, ids=map(str, range(len(MAKERS))))
def test_what_a_filter_was_made_with_is_part_of_it(make):
    assert describe(make(0.1)) == describe(make(0.1)) != describe(make(0.9))
    assert len(describe(make(0.1))) < 500


def test_functions_without_a_name_differ_by_their_code():
    lambdas = [lambda x: x > 0.1, lambda x: x > 0.9, lambda x: x < 0.1, lambda x: [y for y in x if y], lambda x: abs(x)]
    assert len({*map(describe, lambdas)}) == len(lambdas)


def test_what_has_a_name_and_nothing_else_is_named():
    assert describe(above) == f"{__name__}:above" and describe(Above) == f"{__name__}:Above"
    assert describe(Above(0.5)) == f"{__name__}:Above(limit=0.5)"
    assert describe(Guarded()) == f"{__name__}:Guarded(lock=_thread:lock, own=...)" == describe(Guarded())
    assert describe(Above(Path("a"))) == f"{__name__}:Above(limit={Path('a')!r})" and describe(abs) == "builtins:abs"


def test_the_text_is_the_same_in_another_process():
    code = "from test_described import *; print(describe(lambda x: x in {'a', 'b', 'c'}), describe(Above({*'abcdef'})))"
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, env=env)
        for env in ({**os.environ, "PYTHONHASHSEED": seed} for seed in "12")
    ]
    assert runs[0].stdout == runs[1].stdout and "Above" in runs[0].stdout, runs[0].stderr


def test_an_object_that_is_used_many_times_is_described_once():
    value = Above(0.5)
    for _ in range(60):
        value = Above([value, value])
    assert len(describe(value)) < 500
