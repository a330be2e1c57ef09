"""Checks of arguments that several functions take."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TypeGuard

from gpuquant.errors import ArgumentError

MAX_PIXELS = 500_000_000  # of a photo that is decoded unasked: 1.5 GB of levels


def check_settings(n_init: int, max_iter: int, tol: float, random_state: int, chunk_size: int | None) -> None:
    """Raise unless the settings of a k-means run can be used."""
    check_positive("n_init", n_init)
    check_positive("max_iter", max_iter)
    check_chunk_size(chunk_size)
    if not is_real(tol) or not (math.isfinite(tol) and tol >= 0):
        raise ArgumentError(f"tol={tol!r} must be a finite number, 0 or more")
    if not is_integer(random_state) or not 0 <= random_state < 2**32:
        raise ArgumentError(f"random_state={random_state!r} must be an integer from 0 to 2^32 - 1")


def check_chunk_size(chunk_size: int | None) -> None:
    """Raise unless the argument is None or an integer of at least 1."""
    if chunk_size is not None:
        check_positive("chunk_size", chunk_size)


def check_compression(compression: int | None) -> None:
    """Raise unless the argument is None or a level of zlib's."""
    if compression is not None and not (is_integer(compression) and 0 <= compression <= 9):
        raise ArgumentError(f"compression={compression!r} must be an integer from 0 to 9")


def check_effort(effort: str) -> None:
    """Raise unless the argument is the name of an effort."""
    check_name("effort", effort, ("fast", "default", "best"))


def check_name(argument: str, value: str, names: Iterable[str]) -> None:
    """Raise unless the argument is one of these names."""
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(f"{argument}={value!r} is unknown; use {in_words(map(repr, names))}")


def in_words(names: Iterable[str]) -> str:
    """Names one after the other: "a, b or c"."""
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last


def check_positive(name: str, value: int) -> None:
    """Raise unless the argument is an integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be an integer of at least 1")


def is_real(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number of Python or NumPy, and not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Tell whether a value is an integer of Python or NumPy, and not a truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
