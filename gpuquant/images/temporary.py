"""Temporary files without a name, for pixels and labels that do not fit into memory; room for them is checked first."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.whole_file import temporary_file


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
        folder = None if folder is None else Path(folder)
        ways_out = ["allow more memory (--memory)"]
        self._file = temporary_file(f"{task} takes", folder=folder, n_bytes=n_bytes, ways_out=ways_out)
        self._n_written = 0

    def append(self, values: npt.NDArray[Any]) -> int:
        """Write an array at the end; its place, in bytes."""
        place = self._file.seek(self._n_written)
        self._file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        self._n_written += values.nbytes
        return place

    def read(self, place: int, values: npt.NDArray[Any]) -> None:
        """Fill a contiguous array with the bytes from that place on."""
        left = values.reshape(-1).view(np.uint8).data
        self._file.seek(place)
        while left:
            n_read = self._file.readinto(left)
            assert n_read, "the temporary file is shorter than what was written"
            left = left[n_read:]

    def close(self) -> None:
        """Give the room back."""
        self._file.close()
