"""libtiff's complaints, which it prints to standard error: taken from it where that is possible, by thread."""

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import PIL

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, va_list
KINDS = ("Error", "Warning")
SAFE = ("x86_64", "aarch64", "arm64", "AMD64")  # where a va_list is handed over as one pointer, which is passed on


@cache
def _library() -> Any:
    """The one that Pillow has loaded, if it came with it: of Linux and macOS."""
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


class Complaints:
    """Handlers in place of libtiff's own: `take` is given what they say, and tells whether it was for this thread."""

    def __init__(self, take: Callable[[str, str], bool]) -> None:
        self._take = take
        self._before: dict[str, int | None] = {}
        self._ours: dict[str, Any] = {}

    def begin(self) -> None:
        """Put ours in place."""
        library = _library()
        for kind in KINDS if library is not None else ():
            self._ours.setdefault(kind, HANDLER(self._handler(kind)))  # kept: another thread may be about to call it
            place = ctypes.cast(self._ours[kind], ctypes.c_void_p)
            self._before[kind] = getattr(library, f"TIFFSet{kind}Handler")(place)

    def end(self) -> None:
        """Put back what was there."""
        library = _library()
        for kind in KINDS if library is not None else ():
            getattr(library, f"TIFFSet{kind}Handler")(self._before[kind])

    def _handler(self, kind: str) -> Callable[[bytes | None, bytes | None, int | None], None]:
        def handle(module: bytes | None, words: bytes | None, values: int | None) -> None:
            before = self._before.get(kind)
            if not self._take(kind, (words or b"").decode("latin-1")) and before:
                HANDLER(before)(module, words, values)

        return handle
