"""Labels that wait, in memory or in a temporary file, as they come before the order of their entries is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpuquant.images.temporary import TemporaryFile

Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class LabelFile:
    """Strips of labels, which are read back in the order in which they were added. To be closed.

    Raises
    ------
    ImageFileError
        There is no room for so many bytes.
    """

    def __init__(self, folder: Path | None, n_bytes: int, most_in_memory: int) -> None:
        self._file = TemporaryFile(folder, n_bytes, "dithering") if n_bytes > most_in_memory else None
        self._kept: list[Labels] = []
        self._written: list[tuple[int, tuple[int, ...], np.dtype[np.uint8] | np.dtype[np.uint16]]] = []

    def add(self, labels: Labels) -> None:
        """Add the next strip, which nobody changes from then on."""
        if self._file is None:
            self._kept.append(labels)
        else:
            self._written.append((self._file.append(labels), labels.shape, labels.dtype))

    def strips(self) -> Iterator[Labels]:
        """All strips, once; each is the caller's."""
        yield from self._kept
        for place, shape, dtype in self._written:
            labels = np.empty(shape, dtype)
            assert self._file is not None
            self._file.read(place, labels)
            yield labels

    def close(self) -> None:
        """Give the room back."""
        if self._file is not None:
            self._file.close()
