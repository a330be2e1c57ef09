"""Rows that come in strips of any height, gathered into blocks of a fixed height, whatever the strips are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gpuquant.images.packing import Labels


class Block(NamedTuple):
    """Rows that are encoded together, after the last ones before them."""

    rows: Labels  # [n_before + H, padded width]: zeros before the first block, and beside the image
    is_first: bool
    is_last: bool


class RowBlocks:
    """Take the rows of an image, in any number at a time, and hand over one block after the other."""

    def __init__(
        self,
        size: tuple[int, int],  # of the image: width and height
        n_rows: int,  # of a block; the last one may have fewer
        padded_width: int,
        dtype: type[np.uint8] | type[np.uint16],
        hand_over: Callable[[Block], None],
        n_before: int = 0,
    ) -> None:
        self._width, self._height = size
        self._n_rows, self._n_before, self._padded_width, self._dtype = n_rows, n_before, padded_width, dtype
        self._hand_over = hand_over
        self._n_taken, self._n_filled = 0, 0  # rows of the image, of the block
        self._rows = self._next_rows(None)

    def write(self, labels: Labels) -> None:  # [H, W]
        """Take rows; they may be changed afterwards."""
        if labels.ndim != 2 or labels.shape[1] != self._width or self._n_taken + len(labels) > self._height:
            taken = f"after {self._n_taken} rows of an image of {self._width} x {self._height}"
            raise AssertionError(f"labels of shape {labels.shape} {taken}")
        start = 0
        while start < len(labels):
            place = self._n_before + self._n_filled
            n_more = min(len(self._rows) - place, len(labels) - start)
            self._rows[place : place + n_more, : self._width] = labels[start : start + n_more]
            start += n_more
            self._n_filled += n_more
            self._n_taken += n_more
            if place + n_more == len(self._rows):
                self._hand_over(self._full_block())

    def check_all_taken(self) -> None:
        """Raise unless all rows of the image are there."""
        if self._n_taken != self._height:
            raise AssertionError(f"{self._n_taken} rows of an image of {self._height}")

    def _full_block(self) -> Block:
        block = Block(self._rows, self._n_taken == self._n_filled, self._n_taken == self._height)
        self._rows, self._n_filled = self._next_rows(block.rows), 0
        return block

    def _next_rows(self, before: Labels | None) -> Labels:
        n_rows = min(self._n_rows, self._height - self._n_taken)
        rows = np.zeros((self._n_before + n_rows if n_rows else 0, self._padded_width), self._dtype)
        if before is not None and n_rows and self._n_before:
            rows[: self._n_before] = before[-self._n_before :]
        return rows
