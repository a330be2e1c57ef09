"""Emulations of kernels, by name: what a launch computes, on CPU tensors, by the reference implementations.

A function under `@emulates("name_kernel")` in any module of this folder whose name ends with _kernels is found. It is
given the grid and the arguments by name, and writes what the kernel writes. Of sums that each program has for itself
the first program may have all, and the others nothing.
"""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

Grid = tuple[int, int, int]
Emulation = Callable[[Grid, SimpleNamespace], None]

EMULATIONS: dict[str, Emulation] = {}


def emulates(name: str) -> Callable[[Emulation], Emulation]:
    """Register a function as what a kernel computes."""

    def register(function: Emulation) -> Emulation:
        assert name not in EMULATIONS, f"{name} has two emulations"
        EMULATIONS[name] = function
        return function

    return register


def load_emulations() -> None:
    """Import every module of emulations in this folder."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.endswith("_kernels"):
            importlib.import_module(f"played.{module.name}")
