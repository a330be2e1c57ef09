"""Pillow under our limit of pixels and without a word on standard error, while one thread reads one file.

Pillow's own limit and the filters of warnings are the process's: they are neither changed nor asked. In their place the
two functions that look them up are exchanged, as long as any thread reads; for all other threads they do what they did.
"""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from gpuquant.errors import ArgumentError
from gpuquant.images.libtiff import Complaints

CHECK = "_decompression_bomb_check"  # what every one of Pillow's formats calls with a size, and crop() and open() too
PASSED_ON = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)  # which are about our code, not the file


class TooLargeError(ArgumentError):
    """An image, or a part of a file, has more pixels than are allowed."""

    def __init__(self, message: str, n_pixels: int) -> None:
        super().__init__(message)
        self.n_pixels = n_pixels


@dataclass(eq=False)
class Reading:
    """One file that a thread reads: its limit, and Pillow's warnings so far."""

    max_pixels: int | None
    outer: "Reading | None" = None  # of the same thread, around this one
    said: list[str] = field(default_factory=list)
    damaged: bool = False  # libtiff could not decode some of it


_here = threading.local()
_lock = threading.Lock()
_readings: set[Reading] = set()  # of all threads
_quiet = logging.NullHandler()  # without any, Python prints Pillow's records to standard error
_exchanged: dict[tuple[Any, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}  # ours, and what it replaced


@contextmanager
def pillow_guarded(max_pixels: int | None) -> Iterator[Reading]:
    """Hold Pillow to a limit of ours, or none, and collect its warnings, in this thread alone."""
    outer: Reading | None = getattr(_here, "reading", None)
    reading = Reading(max_pixels, outer)
    try:
        _here.reading = reading
        _exchange(reading)
        yield reading
    finally:  # also where an interrupt came before all was exchanged
        _put_back(reading)
        _here.reading = outer


def check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse what has more pixels than are allowed.

    Raises
    ------
    TooLargeError
        It has.
    """
    n_pixels = size[0] * size[1]
    if max_pixels is not None and n_pixels > max_pixels:
        found, limit = (_in_words(number) for number in (n_pixels, max_pixels))
        if max_pixels < 1e6 or found == limit:
            found, limit = f"{n_pixels} pixels", f"{max_pixels} pixels"
        found = f"{size[0]} x {size[1]} = {found}, more than the limit of {limit}"
        raise TooLargeError(f"{found}; raise it with max_pixels (--max-pixels)", n_pixels)


def _in_words(n_pixels: int) -> str:
    return f"{n_pixels / 1e6:.4g} megapixels" if n_pixels < 1e10 else f"{n_pixels / 1e9:.4g} gigapixels"


def _take(kind: str) -> bool:
    """Note an error of libtiff's as damage. Its warnings do not count: they are about unknown tags."""
    reading: Reading | None = getattr(_here, "reading", None)
    if reading is not None and kind == "Error":
        reading.damaged = True
    return reading is not None


_complaints = Complaints(_take)


def _exchange(reading: Reading) -> None:
    with _lock:
        _readings.add(reading)
        try:
            if len(_readings) == 1:
                _begin()
        except BaseException:  # before another thread takes it for done
            _leave(reading)
            raise


def _begin() -> None:
    logging.getLogger("PIL").addHandler(_quiet)
    _complaints.begin()
    for place, name, make in ((Image, CHECK, _our_check), (warnings, "warn", _our_warn)):
        before = getattr(place, name, None)
        if before is not None:
            _exchanged[place, name] = make(before), before
            setattr(place, name, _exchanged[place, name][0])


def _put_back(reading: Reading) -> None:
    with _lock:
        if reading in _readings:
            _leave(reading)


def _leave(reading: Reading) -> None:
    _readings.discard(reading)
    if not _readings:
        _undo()


def _undo() -> None:
    logging.getLogger("PIL").removeHandler(_quiet)
    _complaints.end()
    for (place, name), (ours, before) in _exchanged.items():
        if getattr(place, name) is ours:  # and nobody else's, who would put ours back
            setattr(place, name, before)
    _exchanged.clear()


def _begin_anew() -> None:
    """Leave, in a forked process, only what its one thread reads: the others stayed in the parent."""
    global _lock
    reading: Reading | None = getattr(_here, "reading", None)
    _lock = threading.Lock()
    _readings.clear()
    while reading is not None:
        _readings.add(reading)
        reading = reading.outer
    _complaints.begin_anew()
    if not _readings:
        _undo()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _our_check(before: Callable[..., None]) -> Callable[..., None]:
    def check(size: tuple[int, int], **options: Any) -> None:
        reading: Reading | None = getattr(_here, "reading", None)
        if reading is None:
            before(size, **options)
        else:
            check_size(size, reading.max_pixels)

    return check


def _our_warn(before: Callable[..., None]) -> Callable[..., None]:
    def warn(message: Any, category: Any = None, stacklevel: int = 1, *others: Any, **options: Any) -> None:
        reading: Reading | None = getattr(_here, "reading", None)
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        if reading is None or issubclass(kind, PASSED_ON):
            before(message, category, stacklevel + 1, *others, **options)
        else:
            reading.said.append(" ".join(str(message).split()))

    return warn
