"""Tables with a bin for every color, kept from call to call."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpuquant.colors.codes import N_CODES

N_TABLES = 4  # of one borrower, 16 MiB each where they are used: as many as take the room of one table of int32
N_BYTES = 8  # for each color: as many as a table of int64 takes
N_KEPT = 2  # borrowers at a time that find memory which was used before
N_LINES = N_CODES // 64  # of the cache: each holds 64 bins


class Tables(NamedTuple):
    """Bins for each color, in Z-order, for a few threads. Memory that nobody has touched costs nothing."""

    bins: npt.NDArray[np.uint8]  # [N_BYTES, 2^24]: a counting thread has one
    marks: npt.NDArray[np.uint8]  # [N_TABLES, N_LINES]: 1 for each line with a bin in use: others are not even read


class _Kept:
    """Zeroed tables: the first touch of one costs as much as counting."""

    def __init__(self) -> None:
        self._free: list[Tables] = []
        self.unlock()

    def unlock(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self) -> Iterator[Tables]:
        with self._lock:
            tables = self._free.pop() if self._free else None
        if tables is None:
            tables = Tables(np.zeros((N_BYTES, N_CODES), np.uint8), np.zeros((N_TABLES, N_LINES), np.uint8))
        yield tables  # a borrower that fails leaves counts behind, so its tables are dropped, not returned
        with self._lock:
            if len(self._free) < N_KEPT:
                self._free.append(tables)


kept_tables = _Kept()
if hasattr(os, "register_at_fork"):  # a thread that stayed behind may hold it
    os.register_at_fork(after_in_child=kept_tables.unlock)
