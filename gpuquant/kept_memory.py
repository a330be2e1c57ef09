"""Memory that goes from photo to photo in a batch.

The system clears fresh memory: that of pixels and labels took a third as long as to decode the photos (measured).
It belongs to the process, as what reads pixels and what looks them up know of no batch.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_BYTES = 1 << 22  # less is soon cleared
MOST_BYTES = 1 << 27  # 44 megapixels: more is not to be held on to for smaller photos
MOST_TOO_LARGE = 4  # times what is asked for, which an array may hold on to


class KeptMemory:
    """Memory for arrays of one purpose, which is kept, while a context is open, when no array is in it any more.

    As much is kept as arrays were in use at a time; where it is too small for the next one, larger memory takes its
    place.
    """

    def __init__(self) -> None:
        self._free: deque[npt.NDArray[np.uint8]] = deque()  # which needs no lock: memory may come back at any time
        self._n_users, self._lock = 0, threading.Lock()

    def begin_anew(self) -> None:
        """Forget, in a forked process, the contexts that stayed in the parent."""
        self._n_users, self._lock = 0, threading.Lock()
        self._free.clear()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep memory until the last of such contexts is closed."""
        with self._lock:
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
            if not self._n_users:
                self._free.clear()

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array as of `numpy.empty`."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if not self._n_users or not FEWEST_BYTES <= n_bytes <= MOST_BYTES:
            return np.empty(shape, dtype)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(0, np.uint8)
        if not n_bytes <= len(memory) <= MOST_TOO_LARGE * n_bytes:
            memory = np.empty(n_bytes, np.uint8)
        return np.asarray(_Lent(memory, self))[:n_bytes].view(dtype).reshape(shape)

    def take_back(self, memory: npt.NDArray[np.uint8]) -> None:
        """Keep memory in which no array is any more, in whatever thread that comes out."""
        self._free.append(memory)
        if not self._n_users:  # looked at last: the last context may be closed in the meantime
            self._free.clear()


class _Lent:
    """The owner of an array's memory, which every view of the array keeps alive."""

    def __init__(self, memory: npt.NDArray[np.uint8], home: KeptMemory) -> None:
        self._memory, self._home = memory, home
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._home.take_back(self._memory)


pixel_memory, label_memory = KeptMemory(), KeptMemory()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pixel_memory.begin_anew)
    os.register_at_fork(after_in_child=label_memory.begin_anew)
