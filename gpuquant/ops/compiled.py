"""Loops compiled by Numba, or plain Python and torch where Numba cannot be imported."""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

FEW = 1 << 18  # pixels that plain torch works off in less time than it takes to import Numba: 0.3 s


def compiled(function: Function) -> Function:
    """Compile a function of plain loops over arrays; it runs without the interpreter's lock, and is kept on disk."""
    if not has_numba():
        return function
    from numba import njit

    try:
        made = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep it in can be written to
        made = njit(nogil=True, error_model="numpy")(function)
    return cast(Function, made)


def is_worth_compiling(n_pixels: int) -> bool:
    """Tell whether compiled loops are there for so many pixels: few are not worth the import."""
    return (n_pixels >= FEW or "numba" in sys.modules) and has_numba()


@cache
def has_numba() -> bool:
    """Tell whether Numba can be imported; warn once if not."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        message = f"Numba cannot be imported ({error}): dithering gives the same results, but takes much longer"
        warnings.warn(f"{message}; reinstall it with pip install --force-reinstall numba", stacklevel=2)
        return False
    return True
