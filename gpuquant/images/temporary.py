"""Temporary files without a name, for pixels and labels that do not fit into memory; room for them is checked first."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.errors import ImageFileError
from gpuquant.images.words import size_in_words


class TemporaryFile:
    """Arrays one after the other. To be closed.

    Raises
    ------
    ImageFileError
        There is no room for so many bytes; or, of each method, the system cannot write or read them.
    """

    def __init__(
        self,
        folder: str | Path | None,  # the system's for temporary files if None
        n_bytes: int,
        task: str,  # that takes it, such as "dithering"
    ) -> None:
        self._folder, self._is_chosen = Path(folder or tempfile.gettempdir()), folder is not None
        self._task, self._size, self._n_written = task, size_in_words(n_bytes), 0
        with self._told():
            free = shutil.disk_usage(self._folder).free
            if free < n_bytes:
                raise self._error(f", where {size_in_words(free)} are free")
            self._file: Any = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115

    def append(self, values: npt.NDArray[Any]) -> int:
        """Write an array at the end; its place, in bytes."""
        place, left = self._n_written, np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        with self._told():
            self._file.seek(place)
            while left:  # a call writes 2 GB at most, and what there is room for
                left = left[self._file.write(left) :]
        self._n_written += values.nbytes
        return place

    def read(self, place: int, values: npt.NDArray[Any]) -> None:
        """Fill a contiguous array with the bytes from that place on."""
        left = values.reshape(-1).view(np.uint8).data
        with self._told():
            self._file.seek(place)
            while left:
                n_read = self._file.readinto(left)
                assert n_read, "the temporary file is shorter than what was written"
                left = left[n_read:]

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ImageFileError:
            raise
        except OSError as error:
            raise self._error(f": {error.strerror or error}") from None

    def _error(self, reason: str) -> ImageFileError:
        elsewhere = "write to another disk" if self._is_chosen else "name another folder for temporary files (TMPDIR)"
        advice = f"make room there, {elsewhere}, or allow more memory (--memory)"
        place = f"{self._task} takes a temporary file of {self._size} in {self._folder}"
        return ImageFileError(f"{place}{reason}; {advice}")
