"""Windows: the part of a frame that a crop needs, so that only this part is decoded."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shards.errors import UserError


class Window(NamedTuple):
    """A rectangle of pixels of a frame; ``frame`` is the frame's height and width, if known."""

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int] | None = None

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Return the view of this part of an array ``(H, W, ...)``."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether an image of this height and width can be the window's frame."""
        if self.frame:
            return size == self.frame
        return size[0] >= self.top + self.height and size[1] >= self.left + self.width

    def check(self, size: tuple[int, int]) -> None:
        """Check that an image of this height and width can be the window's frame.

        Raises:
            UserError: when it cannot.
        """
        if not self.fits(size):
            height, width = self.frame or (self.top + self.height, self.left + self.width)
            message = f"is {size[0]}x{size[1]}, its image {height}x{width}"
            raise UserError(message, hint="prepare the data set again")

    def blocks(self, height: int, width: int) -> tuple[range, range]:
        """Return rows and columns of the blocks, ``height`` by ``width`` pixels each, that the window touches."""
        rows = range(self.top // height, (self.top + self.height - 1) // height + 1)
        return rows, range(self.left // width, (self.left + self.width - 1) // width + 1)

    def within(self, rows: range, columns: range, height: int, width: int) -> "Window":
        """Return the same window, relative to the first of these blocks."""
        return Window(self.top - rows.start * height, self.left - columns.start * width, self.height, self.width)


def cut_window(array: np.ndarray, window: Window | None) -> np.ndarray:
    """Return a window's part of a decoded image ``(H, W, ...)``, as a view; without a window, all of it.

    Raises:
        UserError: when the image cannot be the window's frame.
    """
    if window is None:
        return array
    window.check((array.shape[0], array.shape[1]))
    return window.cut(array)


class LazyWindow:
    """A window that is chosen once the size of its frame is known.

    Args:
        choose: maps a frame's height and width to a window with this ``frame``.

    Attributes:
        window: the window, once it has been chosen.
    """

    def __init__(self, choose: Callable[[tuple[int, int]], Window]) -> None:
        self.choose = choose
        self.window: Window | None = None

    def __call__(self, frame: tuple[int, int]) -> Window:
        self.window = self.choose(frame)
        return self.window

    @property
    def frame(self) -> tuple[int, int] | None:
        """Height and width of the frame; None before the window has been chosen."""
        return self.window.frame if self.window else None
