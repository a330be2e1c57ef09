"""Blocks of a file at a URL, of which only those come that are read."""

import io
from typing import Any

from gpuquant.locations.stores import Address

BLOCK = 1 << 14  # bytes of a file that is looked into: the note of a result is among the first 2000 but for a profile


class Blocks(io.RawIOBase):
    """A file at a URL, of which parts are read."""

    def __init__(self, place: Address, n_bytes: int) -> None:
        self._place, self._n_bytes, self._offset = place, n_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._n_bytes}[whence]
        self._offset = max(0, start + offset)
        return self._offset

    def readinto(self, buffer: Any) -> int:
        start, end = self._offset, min(self._offset + len(buffer), self._n_bytes)
        if end <= start:
            return 0
        data = self._place.attempt(lambda fs, path: fs.cat_file(path, start=start, end=end))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)
