"""Memory that goes from photo to photo in a batch.

The system clears fresh memory: that of pixels and labels took a third as long as to decode the photos (measured).
"""

import math
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_BYTES = 1 << 22  # less is soon cleared
MOST_BYTES = 1 << 27  # 44 megapixels: more is not to be held on to for smaller photos


class KeptMemory:
    """Memory for arrays of one purpose, which is kept, while a context is open, when no array is in it any more.

    As much is kept as arrays were in use at a time; where it is too small for the next one, larger memory takes its
    place.
    """

    def __init__(self) -> None:
        self._free: deque[npt.NDArray[np.uint8]] = deque()  # which needs no lock: memory may come back at any time
        self._n_users, self._lock = 0, threading.Lock()

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
        if len(memory) < n_bytes:
            memory = np.empty(n_bytes, np.uint8)
        return np.asarray(_Lent(memory, self))[:n_bytes].view(dtype).reshape(shape)

    def take_back(self, memory: npt.NDArray[np.uint8]) -> None:
        if self._n_users:
            self._free.append(memory)


class _Lent:
    """The owner of an array's memory, which every view of the array keeps alive."""

    def __init__(self, memory: npt.NDArray[np.uint8], home: KeptMemory) -> None:
        self._memory, self._home = memory, home
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._home.take_back(self._memory)


pixel_memory, label_memory = KeptMemory(), KeptMemory()
