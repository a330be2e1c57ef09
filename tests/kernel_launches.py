"""Launches held against the variants of `compile_kernels`: what it compiles is what a device will ask for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from compile_kernels import OPTIONS, TYPES, variants

NAMES = {dtype: name for name, dtype in TYPES.items() if isinstance(dtype, torch.dtype)}
SCRIPTS = Path(__file__).parents[1] / "scripts"


def watch_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every launch fail that is not one of the variants, or whose tensors are not aligned as theirs are."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from gpu.kernels import kernel_modules

    known = set()
    for _, kernel, types, constants in variants():
        own = {name: given for name, given in (types | constants).items() if name in kernel.arg_names}
        known.add(_key(kernel, own | OPTIONS.get(kernel.fn.__name__, {})))
    for module in kernel_modules():
        for name, kernel in list(vars(module).items()):
            if name.endswith("_kernel"):
                monkeypatch.setattr(module, name, _Watched(kernel, known))


def _key(kernel: Any, given: dict[str, Any]) -> tuple[Any, ...]:
    options = sorted(set(given) - set(kernel.arg_names))
    return kernel.fn.__name__, *(f"{name}={given[name]}" for name in [*kernel.arg_names, *options])


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
