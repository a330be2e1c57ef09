"""Photos turned upright strip by strip: in memory, or through a temporary file without a name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpuquant.images.samples import Pixels
from gpuquant.images.temporary import TemporaryFile
from gpuquant.images.turning import SIDEWAYS

PART_BYTES = 1 << 26  # that are turned together: parts of 64 MB of a photo of 10 gigapixels are read 136 KB at a time
TURNS: dict[int, Callable[[Any], Any]] = {  # EXIF 2.32, table 4.6.5: what makes a photo upright
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}
FROM_THE_END = (3, 4, 6, 7)  # where the first stored row becomes the last row or column


class Store(Protocol):
    """Upright pixels, filled from stored strips."""

    def fill(self, top: int, strip: Pixels) -> None:
        """Take a strip that begins at a stored row."""

    def read(self, n_rows: int) -> Iterator[Pixels]:
        """All upright rows, so many at a time."""


class InMemory:
    """Upright pixels in an array."""

    def __init__(self, shape: tuple[int, ...], orientation: int, pixels: Pixels | None = None) -> None:  # upright
        self._orientation, self._n_stored = orientation, shape[orientation in SIDEWAYS]
        self.pixels = np.empty(shape, np.uint8) if pixels is None else pixels

    def fill(self, top: int, strip: Pixels) -> None:
        end = top + len(strip)
        place = slice(top, end)
        if self._orientation in FROM_THE_END:
            place = slice(self._n_stored - end, self._n_stored - top)
        turned = TURNS[self._orientation](strip)
        if self._orientation in SIDEWAYS:
            self.pixels[:, place] = turned
        else:
            self.pixels[place] = turned

    def read(self, n_rows: int) -> Iterator[Pixels]:
        for top in range(0, len(self.pixels), n_rows):
            yield self.pixels[top : top + n_rows]


class InFile:
    """Upright pixels in a temporary file: strips that were turned one by one, each in one piece. To be closed.

    Rows of a photo that lies on its side are put together from a part of every strip.
    """

    def __init__(self, shape: tuple[int, ...], orientation: int, folder: str | Path | None) -> None:  # upright
        self._shape, self._orientation, self._n_stored = shape, orientation, shape[orientation in SIDEWAYS]
        self._pieces: dict[
            int, tuple[int, int]
        ] = {}  # by the first row or column: the length, and the place in the file
        self._file = TemporaryFile(folder, int(np.prod(shape, dtype=np.int64)), "turning the photo upright")

    def fill(self, top: int, strip: Pixels) -> None:
        start = self._n_stored - top - len(strip) if self._orientation in FROM_THE_END else top
        self._pieces[start] = len(strip), self._file.append(TURNS[self._orientation](strip))

    def read(self, n_rows: int) -> Iterator[Pixels]:
        height, width, *channels = self._shape
        row_bytes = width * (channels[0] if channels else 1)
        n_part = max(n_rows, PART_BYTES // row_bytes // n_rows * n_rows) if self._orientation in SIDEWAYS else n_rows
        for top in range(0, height, n_part):
            part = self._part(top, min(n_part, height - top))
            for start in range(0, len(part), n_rows):
                yield part[start : start + n_rows]

    def close(self) -> None:
        self._file.close()

    def _part(self, top: int, n_rows: int) -> Pixels:
        """Read some upright rows."""
        part = np.empty((n_rows, *self._shape[1:]), np.uint8)
        for start, (length, offset) in self._pieces.items():
            if self._orientation in SIDEWAYS:
                piece = np.empty((n_rows, length, *self._shape[2:]), np.uint8)
                self._file.read(offset + top * (piece.nbytes // n_rows), piece)
                part[:, start : start + length] = piece
            elif start < top + n_rows and start + length > top:
                first, last = max(start, top), min(start + length, top + n_rows)
                rows = part[first - top : last - top]
                self._file.read(offset + (first - start) * (rows.nbytes // len(rows)), rows)
        return part
