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

import torch
from torch import Tensor

Grid = tuple[int, int, int]
Emulation = Callable[[Grid, SimpleNamespace], None]

SCORES_AT_ONCE = 1 << 22  # 32 MiB of float64
EMULATIONS: dict[str, Emulation] = {}


def emulates(name: str) -> Callable[[Emulation], Emulation]:
    """Register a function as what a kernel computes."""

    def register(function: Emulation) -> Emulation:
        assert name not in EMULATIONS, f"{name} has two emulations"
        EMULATIONS[name] = function
        return function

    return register


def nearest_of(
    points: Tensor,  # [n, D] float32 or float64
    centers: Tensor,  # [K, D] of the same type
) -> Tensor:  # [n] int64: the first of equal ones
    """The nearest center of each point."""
    squares = centers.square().sum(dim=1)
    parts = points.split(max(1, SCORES_AT_ONCE // len(centers)))
    return torch.cat([torch.addmm(squares, part, centers.T, alpha=-2).argmin(dim=1) for part in parts])


def load_emulations() -> None:
    """Import every module of emulations in this folder."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.endswith("_kernels"):
            importlib.import_module(f"played.{module.name}")
