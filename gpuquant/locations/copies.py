"""Copies of files at URLs, in files without a name."""

import io
import os
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from gpuquant.errors import ImageFileError
from gpuquant.locations.stores import Address
from gpuquant.whole_file import DESCRIPTORS, ToldFile, temporary_file, told

IN_MEMORY = 1 << 24  # bytes of a file on its way that stay in memory: every budget of a photo has room for them
PART = 1 << 26  # bytes that are asked for at a time: most photos come in one piece


class LocalCopy:
    """A copy of a file at a URL: in memory, or on disk where it is large or nobody knows how large it is.

    It has no name, and is there as long as this object is; `path` opens it, as often as needed.

    Raises
    ------
    ImageFileError
        The file cannot be read, or there is no room for the copy.
    """

    def __init__(self, address: Address, n_bytes: int | None) -> None:
        self._file = _file_for(address, n_bytes)
        weakref.finalize(self, self._file.close)
        self.path = DESCRIPTORS / str(self._file.fileno()) if DESCRIPTORS.is_dir() else Path(self._file.name)
        address.attempt(lambda fs, path: self._fill(fs, path, n_bytes, in_parts=not address.is_read_only))

    def open(self) -> BinaryIO:
        """The file, which may be read for longer than this object lives."""
        return self.path.open("rb")

    def _fill(self, fs: Any, path: str, n_bytes: int | None, *, in_parts: bool) -> None:
        self._file.seek(0)
        self._file.truncate()
        if not in_parts:  # which a server of the web may not send
            fs.get_file(path, self._file)
            return
        n_read = 0
        while n_bytes is None or n_read < n_bytes:
            part = fs.cat_file(path, start=n_read, end=n_read + PART)
            self._file.write(part)
            n_read += len(part)
            if len(part) < PART:
                break
        if n_bytes not in (None, n_read):
            raise OSError(f"it had {n_bytes} bytes when it was listed, and has {n_read} now")


def _file_for(address: Address, n_bytes: int | None) -> ToldFile:
    what = f"{address} cannot be copied:"
    is_small = n_bytes is not None and n_bytes <= IN_MEMORY
    if not (is_small and DESCRIPTORS.is_dir() and hasattr(os, "memfd_create")):
        return temporary_file(what, n_bytes=n_bytes)

    def error_of(reason: str) -> ImageFileError:
        return ImageFileError(f"{what} {reason}")

    with told(error_of):
        return ToldFile(io.FileIO(os.memfd_create("gpuquant"), "wb+"), error_of)
