"""libtiff's complaints, which it prints to standard error: taken from it where that is possible, by thread."""

import ctypes
import platform
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import PIL

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, va_list
KINDS = ("Error", "Warning")  # in the names of the functions that set handlers
SAFE = ("x86_64", "aarch64", "arm64")  # where a va_list is handed over as one pointer, which is passed on


@cache
def _library() -> Any:
    """The libtiff that Pillow has loaded, if it came with Pillow: on Linux and macOS."""
    if sys.platform not in ("linux", "darwin") or platform.machine() not in SAFE:
        return None
    home = Path(PIL.__file__).parent
    found = [*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")]
    if len(found) != 1:
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
        for kind in KINDS:
            setter = getattr(library, f"TIFFSet{kind}Handler")
            setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library


class _Handler:
    """A handler of ours, and the one that it replaced."""

    def __init__(self, kind: str, take: Callable[[str], bool]) -> None:
        self._kind, self._take = kind, take
        self._before: int | None = None
        self._is_in_place = False
        self._lock = threading.Lock()  # held while what ours replaced is not known
        self._callback = HANDLER(self._handle)
        self._address = ctypes.cast(self._callback, ctypes.c_void_p)

    def begin(self, library: Any) -> None:
        with self._lock:
            found = getattr(library, f"TIFFSet{self._kind}Handler")(self._address)
            if found != self._address.value:  # as it is in a process that was forked in the midst of this
                self._before = found
            self._is_in_place = True

    def end(self, library: Any) -> bool:
        """Put back the earlier handler. False where another had replaced ours: that one stays, and may call ours."""
        if not self._is_in_place:
            return True
        setter = getattr(library, f"TIFFSet{self._kind}Handler")
        found = setter(self._before)
        self._is_in_place = False
        if found == self._address.value:
            return True
        setter(found)
        return False

    def begin_anew(self) -> None:
        self._lock = threading.Lock()

    def _handle(self, module: bytes | None, words: bytes | None, values: int | None) -> None:
        with self._lock:
            before = self._before
        if not self._take(self._kind) and before:
            HANDLER(before)(module, words, values)


class Complaints:
    """Handlers in place of libtiff's own: `take` is given the kind, and tells whether it was for this thread."""

    def __init__(self, take: Callable[[str], bool]) -> None:
        self._take = take
        self._ours: dict[str, _Handler] = {}
        self._kept: list[_Handler] = []  # that others may still call

    def begin(self) -> None:
        """Put our handlers in place."""
        library = _library()
        for kind in KINDS if library is not None else ():
            if kind not in self._ours:
                self._ours[kind] = _Handler(kind, self._take)  # kept: another thread may be about to call it
            self._ours[kind].begin(library)

    def end(self) -> None:
        """Put back the handlers that were there, but where somebody else has put another one there meanwhile."""
        library = _library()
        for kind in KINDS if library is not None else ():
            if kind in self._ours and not self._ours[kind].end(library):
                self._kept.append(self._ours.pop(kind))  # begun again, it and theirs would call each other for ever

    def begin_anew(self) -> None:
        """Make the locks anew in a forked process: threads of its parent may have held them."""
        for handler in (*self._ours.values(), *self._kept):
            handler.begin_anew()
