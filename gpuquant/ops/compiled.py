"""Loops compiled by Numba, or plain Python and torch where Numba cannot be imported.

A function is compiled when it is first called, for the types of its arguments, and kept on disk by Numba: beside its
file, in the user's cache folder, or in NUMBA_CACHE_DIR. Numba would take what is kept while the function's own file is
the same. As compiled functions use functions and constants of other files of `ops`, it is taken while all of these are
the same, and written over otherwise; they use nothing of files outside.
"""

import gc
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, wraps
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from traceback import walk_stack
from typing import Any, Literal, TypeVar, cast

from torch import Tensor

MAKERS = {
    "empty",
    "zeros",
    "full",
    "copy",
}  # of arrays: functions without these, which call none with them, count no references

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

    makes_arrays = not MAKERS.isdisjoint(function.__code__.co_names)
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": inline}
    options |= {"no_cfunc_wrapper": True, "_nrt": makes_arrays}  # less to compile: a tenth
    made: Any = njit(**options)(function)
    made._cache = _kept_on_disk()(function)
    made.compile = _undisturbed(made.compile)
    return cast(Function, made)


def _undisturbed(function: Function) -> Function:
    """Call a function that compiles: no garbage is looked for, and an interrupt waits until it has ended.

    In all that torch has made, looking for garbage is a fifth of compiling. LLVM calls back, where exceptions are lost.
    """

    @wraps(function)
    def called(*arguments: Any) -> Any:
        interrupts: list[int] = []
        is_main = threading.current_thread() is threading.main_thread()
        waits = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        was_on = gc.isenabled()
        gc.disable()
        if waits:
            signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        try:
            return function(*arguments)
        finally:
            if waits:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if was_on:
                gc.enable()
            if interrupts:
                raise KeyboardInterrupt

    return cast(Function, called)


@cache
def _kept_on_disk() -> type:
    """A class like Numba's cache of a function, none of whose failures is one of the function."""
    from numba.core import caching, config

    base: Any = caching.FunctionCache
    index: Any = caching.IndexDataCacheFile
    flags: Any = config

    class Keyed(base):  # type: ignore[misc]
        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            own_stamp = self._impl.locator.get_source_stamp()  # of functions that are not in `ops`, as in tests
            given = self.cache_path, self._impl.filename_base, (own_stamp, _stamp_of_all())
            self._cache_file = index(*given)

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


@cache
def _stamp_of_all() -> str:
    """A hash of all files of `ops`; 2 ms."""
    return sha256(b"".join(_sources(files("gpuquant.ops")))).hexdigest()


def _sources(folder: Traversable, within: str = "") -> Iterator[bytes]:
    """The paths and contents of all Python files in a folder, which may lie in a zip file."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = f"{within}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, path)
        elif entry.name.endswith(".py"):
            yield repr((path, entry.read_bytes())).encode()


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
    """Tell whether Numba can compile; warn once if not."""
    trouble, way_out = _trouble()
    if trouble:
        message = f"{trouble}: gpuquant gives the same results, but takes much longer; {way_out}"
        warnings.warn(message, stacklevel=_outside())
    return not trouble


def _outside() -> int:
    """The level of the stack, as the caller's `warnings.warn` counts, of the line that called gpuquant."""
    frames = (frame for frame, _ in walk_stack(sys._getframe(1)))
    packages = (frame.f_globals.get("__name__", "").partition(".")[0] for frame in frames)
    ours = "gpuquant", "contextlib"  # whose decorators stand around some of ours
    return next((level for level, package in enumerate(packages, 1) if package not in ours), 1)


def loops_in_use() -> str:
    """Name what runs on the CPU, and why."""
    trouble, way_out = _trouble()
    if trouble:
        return f"plain torch, as {trouble}; {way_out}"
    import numba

    return f"compiled by Numba {numba.__version__}"


@cache
def _trouble() -> tuple[str, str]:
    """The reason why Numba cannot compile, or nothing, and the way out."""
    try:
        import numba
    except Exception as error:  # ImportError; SystemError or AttributeError where versions do not go together
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"Numba cannot be imported ({reason})", "reinstall it with pip install --force-reinstall numba"
    config: Any = numba.config
    return ("Numba does not compile, as NUMBA_DISABLE_JIT is set", "unset it") if config.DISABLE_JIT else ("", "")
