"""A part of a frame: what a crop needs, so that nothing else has to be decoded."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shards.errors import UserError


class Window(NamedTuple):
    """A rectangle of pixels of a frame; ``frame`` is the frame's height and width, where they are known."""

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int] | None = None

    def cut(self, array: np.ndarray) -> np.ndarray:
        """A view of what an array ``(H, W, ...)`` holds there."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether an image of a height and width can be of the window's frame."""
        if self.frame:
            return size == self.frame
        return size[0] >= self.top + self.height and size[1] >= self.left + self.width

    def check(self, size: tuple[int, int]) -> None:
        """Make sure that an image of a height and width can be of the window's frame.

        Raises:
            UserError: when it cannot.
        """
        if not self.fits(size):
            height, width = self.frame or (self.top + self.height, self.left + self.width)
            what = f"is {size[0]}x{size[1]}, its image {height}x{width}"
            raise UserError(what, hint="prepare the data set again")

    def blocks(self, height: int, width: int) -> tuple[range, range]:
        """Rows and columns of the blocks, ``height`` by ``width`` pixels each, that the window touches."""
        rows = range(self.top // height, (self.top + self.height - 1) // height + 1)
        return rows, range(self.left // width, (self.left + self.width - 1) // width + 1)

    def within(self, rows: range, columns: range, height: int, width: int) -> "Window":
        """The same window, counted from the first of those blocks."""
        return Window(self.top - rows.start * height, self.left - columns.start * width, self.height, self.width)


class Chosen:
    """A window that is chosen when the size of its frame is known.

    Args:
        choose: gives the window of a frame of some height and width, which names that frame.

    Attributes:
        window: it, once it has been chosen.
    """

    def __init__(self, choose: Callable[[tuple[int, int]], Window]) -> None:
        self.choose = choose
        self.window: Window | None = None

    def __call__(self, frame: tuple[int, int]) -> Window:
        self.window = self.choose(frame)
        return self.window

    @property
    def frame(self) -> tuple[int, int] | None:
        """Height and width of the frame, once they are known."""
        return self.window.frame if self.window else None
