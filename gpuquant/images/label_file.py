"""Labels that wait in a temporary file, as they come before the order of their entries is known."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpuquant.errors import ImageFileError
from gpuquant.images.words import size_in_words

Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class LabelFile:
    """Strips of labels, which are read back in the order in which they were added."""

    def __init__(self, folder: Path, most_in_memory: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(most_in_memory, dir=str(folder))  # noqa: SIM115
        self._strips: list[tuple[tuple[int, ...], np.dtype[np.uint8] | np.dtype[np.uint16]]] = []

    def add(self, labels: Labels) -> None:
        """Add the next strip."""
        self._file.write(np.ascontiguousarray(labels).data)
        self._strips.append((labels.shape, labels.dtype))

    def strips(self) -> Iterator[Labels]:
        """All strips; each is the caller's."""
        self._file.seek(0)
        for shape, dtype in self._strips:
            labels = np.empty(shape, dtype)
            self._file.readinto(labels.reshape(-1).view(np.uint8).data)
            yield labels

    def close(self) -> None:
        self._file.close()


@contextmanager
def label_file(folder: Path, n_bytes: int, most_in_memory: int) -> Iterator[LabelFile]:
    """A place for so many bytes of labels: in memory if they fit, or else in a file without a name.

    Raises
    ------
    ImageFileError
        There is no room for them.
    """
    free = shutil.disk_usage(folder).free if n_bytes > most_in_memory else n_bytes
    if free < n_bytes:
        needs = f"a temporary file of {size_in_words(n_bytes)}, and {size_in_words(free)} are free"
        raise ImageFileError(f"{folder}: dithering takes {needs}; make room, or give more memory")
    kept = LabelFile(folder, most_in_memory)
    try:
        yield kept
    except OSError as error:
        raise ImageFileError(f"{folder}: a temporary file cannot be written: {error.strerror or error}") from None
    finally:
        kept.close()
