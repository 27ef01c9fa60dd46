"""A stop that a signal requests of one rank, and so of all of them."""

import signal
import threading
import time
from contextlib import ExitStack
from typing import Any

import torch
from accelerate import Accelerator

from shards.threads import interruptible
from trainer.ranks import ranks

_PATIENCE = 5.0
"""Seconds after a signal in which data that a step waits for may still arrive."""


class StopRequest:
    """A stop requested by a signal: the first SIGINT, SIGTERM or SIGUSR1 requests a stop after the present step; a
    second SIGINT stops at once.

    Python handles signals in its main thread alone, so in another thread none requests a stop.

    The data that the step waits for may never arrive, so waits for data end a few seconds after the signal
    (:mod:`shards.threads`); with several ranks later, so that all can still agree on a stop.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._received_at = 0.0
        self._patience = _PATIENCE if ranks() == 1 else 3 * _PATIENCE
        self._old_handlers: dict[int, Any] = {}
        self._waits = ExitStack()

    def __enter__(self) -> "StopRequest":
        in_main_thread = threading.current_thread() is threading.main_thread()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) if in_main_thread else ():
            self._old_handlers[number] = signal.signal(number, self._request)
        self._waits.enter_context(interruptible(self.overdue))
        return self

    def __exit__(self, *_: object) -> None:
        self._waits.close()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: object) -> None:
        if number == signal.SIGINT == self.signal:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal, self._received_at = signal.Signals(number), time.monotonic()

    def overdue(self) -> bool:
        """Whether the patience for data after a requested stop is over."""
        return self.signal is not None and time.monotonic() - self._received_at > self._patience

    @property
    def name(self) -> str:
        """The signal that requested the stop, in words."""
        return self.signal.name if self.signal else "a signal to another rank"

    def on_any_rank(self, accelerator: Accelerator) -> bool:
        """Whether a stop was requested of any rank; to be called by all of them."""
        requests = torch.tensor([self.signal is not None], dtype=torch.int64, device=accelerator.device)
        return bool(accelerator.reduce(requests, "sum"))
