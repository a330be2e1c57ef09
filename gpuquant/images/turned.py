"""Photos turned upright strip by strip: in memory, or through a temporary file without a name."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpuquant.errors import ImageFileError
from gpuquant.images.samples import Pixels
from gpuquant.images.turning import SIDEWAYS
from gpuquant.images.words import size_in_words

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
        ] = {}  # the place of its first row or column: its length, and its offset
        self._n_bytes = 0
        self._where = Path(folder or tempfile.gettempdir())
        needed = int(np.prod(shape, dtype=np.int64))
        self._needed = size_in_words(needed)
        try:
            free = shutil.disk_usage(self._where).free
            if free < needed:
                raise self._full(f", where {size_in_words(free)} are free")
            self._file: Any = tempfile.TemporaryFile(dir=self._where, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from None

    def fill(self, top: int, strip: Pixels) -> None:
        start = self._n_stored - top - len(strip) if self._orientation in FROM_THE_END else top
        turned = np.ascontiguousarray(TURNS[self._orientation](strip))
        try:
            self._file.seek(self._n_bytes)
            left = turned.reshape(-1).data
            while left:  # a call writes 2 GB at most, and what there is room for
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._failed(error) from None
        self._pieces[start] = len(strip), self._n_bytes
        self._n_bytes += turned.nbytes

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
                self._read(offset + top * (piece.nbytes // n_rows), piece)
                part[:, start : start + length] = piece
            elif start < top + n_rows and start + length > top:
                first, last = max(start, top), min(start + length, top + n_rows)
                rows = part[first - top : last - top]
                self._read(offset + (first - start) * (rows.nbytes // len(rows)), rows)
        return part

    def _read(self, offset: int, pixels: Pixels) -> None:
        self._file.seek(offset)
        left = pixels.reshape(-1).data
        while left:
            n_read = self._file.readinto(left)
            assert n_read, "the temporary file is shorter than what was written"
            left = left[n_read:]

    def _failed(self, error: OSError) -> ImageFileError:
        if isinstance(error, ImageFileError):
            return error
        return self._full(f": {error.strerror or error}")

    def _full(self, reason: str) -> ImageFileError:
        advice = "make room there, name another folder for temporary files (TMPDIR), or allow more memory (--memory)"
        return ImageFileError(
            f"turning the photo upright takes a file of {self._needed} in {self._where}{reason}; {advice}"
        )
