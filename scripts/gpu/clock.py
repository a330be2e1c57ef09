"""Times on the device, and the floors beside them."""

import statistics
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from gpu.setting import DEVICE, ROUNDS, Row, wait
from torch import Tensor

ON_CUDA = DEVICE.type == "cuda"


class Floors:
    """The least times of this device for copies and multiplications, which no operation can undercut."""

    @cached_property
    def bandwidth(self) -> float:
        """Bytes read plus written a second by a copy on the device."""
        numbers = self._bytes()
        return 2 * self._copied(numbers, torch.empty_like(numbers))

    @cached_property
    def uploaded(self) -> float:
        """Bytes a second from pinned memory."""
        return self._copied(torch.zeros(len(self._bytes()), dtype=torch.uint8, pin_memory=ON_CUDA), self._bytes())

    @cached_property
    def downloaded(self) -> float:
        """Bytes a second to pinned memory."""
        return self._copied(self._bytes(), torch.zeros(len(self._bytes()), dtype=torch.uint8, pin_memory=ON_CUDA))

    @cached_property
    def flops(self) -> float:
        """Single-precision operations a second; a multiplication and addition is two."""
        size = 4096 if ON_CUDA else 256
        matrix = torch.ones(size, size, device=DEVICE)
        return 1e3 * 2 * size**3 / statistics.median(milliseconds(matrix.matmul, matrix) for _ in range(10))

    def milliseconds(self, *, n_bytes: float = 0, n_operations: float = 0, up: float = 0, down: float = 0) -> float:
        """The floor of something that moves bytes on the device, computes, and takes bytes to it and back."""
        busy = max(n_bytes / self.bandwidth, n_operations / self.flops if n_operations else 0)
        moved = up / self.uploaded + down / self.downloaded if up or down else 0
        return 1e3 * max(busy, moved)

    def row(self) -> Row:
        names = ("bandwidth", "uploaded", "downloaded", "flops")
        return {f"{name}_per_s": float(f"{getattr(self, name):.4g}") for name in names}

    @staticmethod
    def _bytes() -> Tensor:
        return torch.zeros(1 << 28 if ON_CUDA else 1 << 20, dtype=torch.uint8, device=DEVICE)

    @staticmethod
    def _copied(source: Tensor, target: Tensor) -> float:  # bytes a second
        return 1e3 * len(source) / statistics.median(milliseconds(target.copy_, source) for _ in range(10))


def milliseconds(function: Callable[[Any], object], given: Any) -> float:
    """One call, from before its first launch until the device has done all of it."""
    wait()
    start = time.perf_counter()
    function(given)
    wait()
    return 1e3 * (time.perf_counter() - start)


def timed(function: Callable[[Any], object], inputs: list[Any], *, floor: float | None, rounds: int = ROUNDS) -> Row:
    """The first call, then the median of others over the inputs in rotation, memory at its peak, and the floor."""
    first = milliseconds(function, inputs[0])
    if ON_CUDA:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if ON_CUDA else 0
    times = [milliseconds(function, inputs[turn % len(inputs)]) for turn in range(rounds)]
    median = statistics.median(times)
    row: Row = {"first_ms": round(first, 3), "median_ms": round(median, 4), "from_to_ms": [min(times), max(times)]}
    row["rounds"] = rounds
    if ON_CUDA:
        row["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    if floor is not None:
        row |= {"floor_ms": round(floor, 5), "times_the_floor": round(median / floor, 2)}
    return row
