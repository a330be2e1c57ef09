"""Copies of files at URLs, in files without a name."""

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from gpuquant.errors import ImageFileError
from gpuquant.locations.stores import Address

IN_MEMORY = 1 << 24  # bytes of a file on its way that stay in memory: every budget of a photo has room for them
PART = 1 << 26  # bytes that are asked for at a time: most photos come in one piece
DESCRIPTORS = Path("/proc/self/fd")  # where a file without a name can be opened again


class LocalCopy:
    """A copy of a file at a URL: in memory, or on disk where it is large or nobody knows how large it is.

    It has no name, and is there as long as this object is; `path` opens it, as often as needed.

    Raises
    ------
    ImageFileError
        The file cannot be read, or there is no room for the copy.
    """

    def __init__(self, address: Address, n_bytes: int | None) -> None:
        try:
            self._file = _file_without_name(n_bytes)
        except OSError as error:
            raise ImageFileError(f"{address} cannot be copied: {error.strerror or error}") from None
        weakref.finalize(self, self._file.close)
        self.path = DESCRIPTORS / str(self._file.fileno()) if DESCRIPTORS.is_dir() else Path(self._file.name)
        if address.is_read_only:  # its server may send no parts
            address.attempt(lambda fs, path: fs.get_file(path, str(self.path)))
        else:
            address.attempt(lambda fs, path: self._read(fs, path, n_bytes))

    def open(self) -> BinaryIO:
        """The file, which may be read for longer than this object lives."""
        return self.path.open("rb")

    def _read(self, fs: Any, path: str, n_bytes: int | None) -> None:
        self._file.seek(0)
        self._file.truncate()
        n_read = 0
        while n_bytes is None or n_read < n_bytes:
            part = fs.cat_file(path, start=n_read, end=n_read + PART)
            self._file.write(part)
            n_read += len(part)
            if len(part) < PART:
                break
        self._file.flush()
        if n_bytes not in (None, n_read):
            raise OSError(f"it had {n_bytes} bytes when it was listed, and has {n_read} now")


def _file_without_name(n_bytes: int | None) -> Any:
    can_be_opened_again = DESCRIPTORS.is_dir()
    if can_be_opened_again and n_bytes is not None and n_bytes <= IN_MEMORY and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("gpuquant"), "wb+")
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if n_bytes is not None and n_bytes > free:
        needs = f"that takes {n_bytes} bytes in {folder}, where {free} are free"
        raise OSError(f"{needs}; name another folder for temporary files (TMPDIR)")
    return tempfile.TemporaryFile() if can_be_opened_again else tempfile.NamedTemporaryFile()
