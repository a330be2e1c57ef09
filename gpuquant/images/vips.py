"""Rows of an image as libvips decodes them, from top to bottom: it holds some of them at a time, never all.

libvips writes the image to a target of ours, which is how it streams in threads and in order. Strips that are asked for
one by one fail where it reads ahead in threads ("out of order read"), or take twice the CPU time (measured on a JPEG).
"""

import os
import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gpuquant.images.sources import Source
from gpuquant.threads import worker_threads

LOADERS: dict[
    str, dict[str, Any]
] = {  # to libvips it is a warning if a TIFF or JPEG is damaged, and Pillow may refuse it
    "jpegload_source": {"fail_on": "warning"},
    "pngload_source": {"fail_on": "error"},
    "tiffload_source": {"fail_on": "warning", "unlimited": True},  # of memory for a strip: those of some are large
}
TYPES: dict[str, type[Any]] = {"uchar": np.uint8, "ushort": np.uint16}
WAIT = 0.1  # seconds after which a thread that waits for the other looks whether that one has stopped
N_AHEAD = 2  # strips that are decoded before they are asked for
INSTALL = "photos are decoded in strips by pyvips, which is not installed: pip install 'gpuquant[large]'"
FORKED = "photos are decoded in strips by libvips, which stops working where a process forks; start it by spawn"
_is_forked = False

Samples = npt.NDArray[Any]  # uint8 or uint16


class DecodingError(Exception):
    """libvips cannot decode a file; its words."""


@dataclass(frozen=True)
class Size:
    """Size and samples of a file, as libvips sees it."""

    width: int
    height: int
    n_bands: int
    dtype: type[Any]  # np.uint8 or np.uint16


def library() -> Any:
    """The module pyvips, or None where it, or the library below it, is not there, or cannot be used."""
    return None if _is_forked else _loaded()


def why_not() -> str:
    """Say why there is no library."""
    return FORKED if _is_forked else INSTALL


@cache
def _loaded() -> Any:
    try:
        pyvips = import_module("pyvips")
    except Exception:  # of the library below: OSError, or what its loading raises
        return None
    pyvips.cache_set_max(0)  # of operations: their files would stay open, and no photo of ours is found there again
    return pyvips


def _begin_anew() -> None:
    """Do without libvips in a process that was forked from one with it: it would wait for threads that stayed there."""
    global _is_forked
    _is_forked = _loaded.cache_info().currsize > 0 and _loaded() is not None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class _Reader:
    """A file that ends when the reading is stopped: a decoder may read all of it before it gives a row."""

    def __init__(self, file: BinaryIO, stopped: threading.Event) -> None:
        self._file, self._stopped = file, stopped

    def read(self, size: int) -> bytes:
        return b"" if self._stopped.is_set() else self._file.read(size)

    def seek(self, offset: int, whence: int) -> int:
        return self._file.seek(offset, whence)


def size_of(source: Source, image_format: str) -> Size:
    """Read the header.

    Raises
    ------
    DecodingError
        libvips does not read such a file, or pixels of such a type.
    """
    with source.open() as file:
        return _size_of(_opened(_bytes_of(source, file), image_format))


def _size_of(image: Any) -> Size:
    if image.format not in TYPES:
        raise DecodingError(f"samples of type {image.format}")
    return Size(image.width, image.height, image.bands, TYPES[image.format])


def _bytes_of(source: Source, file: BinaryIO) -> Any:
    """The source that libvips reads from."""
    if source.path is None:
        return library().Source.new_from_memory(file.read())
    return library().Source.new_from_descriptor(file.fileno())


def _opened(given: Any, image_format: str) -> Any:
    pyvips = library()
    loader = f"{image_format.lower()}load_source"  # never one that libvips finds by itself
    try:
        return getattr(pyvips.Image, loader)(given, access="sequential", **LOADERS[loader])
    except pyvips.Error as error:
        words = _words(error)
    raise DecodingError(words)  # without the other, which would hold what is open


def _words(error: Any) -> str:
    """The first reason that libvips names, without the part of it that does."""
    lines = [line.strip() for line in str(error.detail).splitlines()]
    words = next((line for line in lines if line), str(error.message))
    return re.sub(r"^\w+: ", "", words)


class Rows:
    """The rows of one pass: strips of `n_rows`, the last one of what is left. To be started, and to be closed."""

    def __init__(self, source: Source, image_format: str, size: Size, n_rows: int, *, stoppable: bool = False) -> None:
        self._given = source, image_format, size, n_rows, stoppable
        self._n_threads = worker_threads()
        self._stopped = threading.Event()
        self._alive: Any = None
        self._strips: queue.Queue[Samples | BaseException | None] = queue.Queue(N_AHEAD)
        self._thread = threading.Thread(target=self._work, name="gpuquant-decoder", daemon=True)

    def start(self) -> None:
        """Begin to decode. An interrupt may come before this returns: whoever calls it must be ready to close."""
        self._thread.start()

    def __iter__(self) -> Iterator[Samples]:  # [h, W, bands]
        while not self._stopped.is_set():
            try:
                found = self._strips.get(timeout=WAIT)
            except queue.Empty:
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def close(self) -> None:
        """Stop the decoder, and wait for it: for as long as it takes for some rows."""
        self._stopped.set()
        if self._thread.is_alive():  # one that an interrupt keeps from being seen as started ends by itself, at once
            self._thread.join()

    def _put(self, found: Samples | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._strips.put(found, timeout=WAIT)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        if self._stopped.is_set():
            return
        try:
            found = self._decode()
        except BaseException as error:
            found = error.with_traceback(None)  # which would hold what is open
        self._alive = None
        self._put(found)

    def _decode(self) -> BaseException | None:
        source, image_format, size, n_rows, stoppable = self._given
        pyvips = library()
        with source.open() as file:
            given = _bytes_of(source, file)
            if stoppable:
                reader, given = _Reader(file, self._stopped), pyvips.SourceCustom()
                given.on_read(reader.read)
                given.on_seek(reader.seek)
            self._alive = given  # for longer than the image, which calls it
            image = _opened(given, image_format)
            if _size_of(image) != size:
                return DecodingError("the file is not what it was")
            image.set_type(pyvips.GValue.gint_type, "concurrency", self._n_threads)
            filling, target = _Filling(size, n_rows, self), pyvips.TargetCustom()
            target.on_write(filling.write)
            try:
                image.rawsave_target(target, keep="none")
            except pyvips.Error as error:
                return filling.error or DecodingError(_words(error))
        return DecodingError("some rows are missing") if filling.n_left else None

    def take(self, strip: Samples) -> bool:
        """Take a strip that is decoded; False to stop."""
        self._put(strip)
        return not self._stopped.is_set()


class _Filling:
    """Strips that are filled from bytes as they come."""

    def __init__(self, size: Size, n_rows: int, rows: Rows) -> None:
        self._size, self._n_rows, self._rows = size, n_rows, rows
        self.n_left = size.height
        self._n_filled = 0  # bytes of the strip
        self.error: BaseException | None = None
        self._begin()

    def _begin(self) -> None:
        shape = min(self._n_rows, self.n_left), self._size.width, self._size.n_bands
        self._strip = np.empty(shape, self._size.dtype)
        self._bytes = self._strip.reshape(-1).view(np.uint8)
        self._n_filled = 0

    def write(self, data: Any) -> int:
        """Take bytes; -1 stops libvips. Nothing is raised here: nobody would catch it."""
        try:
            levels = np.frombuffer(data, np.uint8)
            while len(levels):
                part = levels[: len(self._bytes) - self._n_filled]
                self._bytes[self._n_filled : self._n_filled + len(part)] = part
                self._n_filled += len(part)
                levels = levels[len(part) :]
                if self._n_filled == len(self._bytes):
                    self.n_left -= len(self._strip)
                    if not self._rows.take(self._strip):
                        return -1
                    self._begin()
            return len(data)
        except BaseException as error:
            self.error = error
            return -1
