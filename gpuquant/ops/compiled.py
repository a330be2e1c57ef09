"""Loops compiled by Numba, or plain Python and torch where Numba cannot be imported.

A function is compiled when it is first called, for the types of its arguments, and kept on disk by Numba: beside its
file, in the user's cache folder, or in NUMBA_CACHE_DIR. What is kept is taken while the function's own file is the
same, so a compiled function uses nothing of other files of gpuquant: no functions, and no constants.
"""

import gc
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from typing import Any, Literal, TypeVar, cast

from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of plain loops over arrays; it runs without the interpreter's lock, and is kept on disk."""
    return _compiled(function, "never")


def written_out(function: Function) -> Function:
    """Write a function out where compiled functions call it: faster than compiling it by itself, and there again."""
    return _compiled(function, "always")


def _compiled(function: Function, inline: Literal["never", "always"]) -> Function:
    if not has_numba():
        return function
    from numba import njit

    made: Any = njit(nogil=True, error_model="numpy", inline=inline)(function)
    made._cache = _kept_on_disk()(function)
    made.compile = _without_collection(made.compile)
    return cast(Function, made)


def _without_collection(function: Function) -> Function:
    """Call a function while no garbage is looked for: in all that torch has made, that is a fifth of compiling."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*arguments)
        finally:
            if was_on:
                gc.enable()

    return cast(Function, called)


@cache
def _kept_on_disk() -> type:
    """A class like Numba's cache of a function, none of whose failures is one of the function."""
    from numba.core import caching, config

    base: Any = caching.FunctionCache
    flags: Any = config

    class Keyed(base):  # type: ignore[misc]
        def _index_key(self, sig: Any, codegen: Any) -> Any:
            """Loops that check their indices (NUMBA_BOUNDSCHECK=1) are kept apart from those that do not."""
            return *super()._index_key(sig, codegen), flags.BOUNDSCHECK

    class KeptOnDisk:
        def __init__(self, function: Callable[..., Any]) -> None:
            self._cache: Any = caching.NullCache()
            try:
                self._cache = Keyed(function)
            except Exception:  # no folder can be written to (RuntimeError), or what else a file system may say
                _tell_of_compiling.kept = False

        @property
        def cache_path(self) -> Any:
            return self._cache.cache_path

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                found = self._cache.load_overload(sig, target_context)
            except Exception:  # a damaged file, or one that may not be read
                found = None
            if found is not None and tuple(found.signature.args) == tuple(sig):
                return found  # processes that write at once may mix up the files of two types
            _tell_of_compiling()
            return None

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(Exception):  # the disk is full, or the folder is gone: the next process compiles again
                self._cache.save_overload(sig, data)

        def flush(self) -> None:
            self._cache.flush()

    return KeptOnDisk


class _Notice:
    """Says on a terminal, once, why the first call takes long."""

    def __init__(self) -> None:
        self.said, self.kept = False, True

    def __call__(self) -> None:
        if self.said or sys.stderr is None or not sys.stderr.isatty():
            return
        self.said = True
        once = "for this machine, once" if self.kept else "anew, as no folder can be written to that keeps them"
        sys.stderr.write(f"gpuquant: compiling loops {once}\n")


_tell_of_compiling = _Notice()


def runs_for(values: Tensor) -> bool:
    """Tell whether compiled loops work on these values: on the CPU, where Numba can be imported."""
    return values.is_cpu and has_numba()


@cache
def has_numba() -> bool:
    """Tell whether Numba can be imported; warn once if not."""
    trouble = _trouble()
    if trouble:
        message = f"Numba cannot be imported ({trouble}): gpuquant gives the same results, but takes much longer"
        warnings.warn(f"{message}; reinstall it with pip install --force-reinstall numba", stacklevel=2)
    return not trouble


def loops_in_use() -> str:
    """Name what runs on the CPU, and why."""
    if _trouble():
        return f"plain torch, as Numba cannot be imported ({_trouble()}); pip install --force-reinstall numba"
    import numba

    return f"compiled by Numba {numba.__version__}"


@cache
def _trouble() -> str:
    """The reason why Numba cannot be imported, or nothing."""
    try:
        import numba  # noqa: F401
    except Exception as error:  # ImportError; SystemError or AttributeError where versions do not go together
        return " ".join(str(error).split()) or type(error).__name__
    return ""
