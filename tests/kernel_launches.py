"""Launches held against the variants of `compile_kernels`: what it compiles is what a device will ask for."""

from typing import Any

import pytest
import torch
from compile_kernels import TYPES, variants

from gpuquant.ops.dithering import cuda as triton_dithering
from gpuquant.ops.lloyd import cuda_colors, cuda_runs
from gpuquant.ops.pixels import cuda as triton_ops
from gpuquant.ops.points import cuda as triton_points
from gpuquant.ops.seeding import cuda as triton_seeding
from gpuquant.ops.seeding import cuda_pixels

NAMES = {dtype: name for name, dtype in TYPES.items() if isinstance(dtype, torch.dtype)}
MODULES = triton_ops, triton_dithering, triton_points, cuda_colors, cuda_runs, triton_seeding, cuda_pixels


def watch_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every launch fail that is not one of the variants, or whose tensors are not aligned as theirs are."""
    known = {_key(kernel, types | constants) for _, kernel, types, constants in variants()}
    for module in MODULES:
        for name, kernel in list(vars(module).items()):
            if name.endswith("_kernel"):
                monkeypatch.setattr(module, name, _Watched(kernel, known))


def _key(kernel: Any, given: dict[str, Any]) -> tuple[Any, ...]:
    return kernel.fn.__name__, *(f"{name}={given[name]}" for name in kernel.arg_names)


class _Watched:
    def __init__(self, kernel: Any, known: set[tuple[Any, ...]]) -> None:
        self._kernel, self._known = kernel, known

    def __getitem__(self, grid: Any) -> Any:
        def launch(*given: Any, **named: Any) -> None:
            positional = dict(zip(self._kernel.arg_names, given, strict=False))
            key = _key(self._kernel, {name: _kind(value) for name, value in positional.items()} | named)
            assert key in self._known, key
            self._kernel[grid](*given, **named)

        return launch


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        assert value.data_ptr() % 16 == 0
        return NAMES[value.dtype]
    assert abs(int(value)) < 1 << 31
    return "i32"
