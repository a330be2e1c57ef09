"""File systems of fsspec that fail, tell what is asked of them, or need a password; and servers for tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image
from servers import served

from gpuquant.locations import Location, place_of

SECRETS = ("hunter2", "token-of-mine")


class Shelf(MemoryFileSystem):  # type: ignore[misc]
    """Files in memory at shelf://, of its own; `fault` is called with the name of what is asked, and the path."""

    protocol = "shelf"
    store: dict[str, Any] = {}  # noqa: RUF012, as its base has it
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    asked: list[tuple[str, str]] = []  # noqa: RUF012
    fault: Callable[[str, str], None] | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Take user info and the query off: they are for the server."""
        if path.startswith("shelf://"):
            path = path.removeprefix("shelf://").rpartition("@")[2].partition("?")[0]
        path = path.strip("/")
        return f"/{path}" if path else ""

    def _ask(self, what: str, path: str) -> None:
        Shelf.asked.append((what, self._strip_protocol(path)))
        if Shelf.fault is not None:
            Shelf.fault(what, self._strip_protocol(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> Any:
        self._ask("read", path)
        return super().cat_file(path, start, end, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._ask("write", path)
        super().pipe_file(path, value, mode, **kwargs)

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Replace a file in one step: the base copies, and takes letters such as "?" in names for patterns."""
        self._ask("rename", path2)
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))

    def info(self, path: str, **kwargs: Any) -> Any:
        self._ask("info", path)
        return super().info(path, **kwargs)

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self._ask("find", path)
        return super().find(path, *args, **kwargs)


@contextmanager
def shelf() -> Iterator[dict[str, Any]]:
    """shelf://, empty; and its files."""
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    empty()
    try:
        yield Shelf.store
    finally:
        empty()


def empty() -> None:
    for kind in (MemoryFileSystem, Shelf):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]
    Shelf.asked.clear()
    Shelf.fault = None


def photos_in(folder: Path, names: Sequence[str], size: tuple[int, int]) -> None:
    """Put different photos of so many rows and columns into a folder."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.arange(3 * size[0] * size[1], dtype=np.uint8) * (number + 3)
        Image.fromarray(levels.reshape(*size, 3)).save(path)


def location(url: str) -> Location:
    place = place_of(url)
    assert isinstance(place, Location)
    return place


def read(place: Location) -> bytes:
    with place.copy().open() as file:
        return file.read()


def put(url: str, data: bytes) -> None:
    """Put a file there, without asking for faults."""
    path = f"/{url.partition('://')[2].strip('/')}"
    system = fsspec.filesystem(url.partition(":")[0])
    MemoryFileSystem.pipe_file(system, path, data)


def contents(url: str) -> dict[str, bytes]:
    """All files below a folder: the place below it, and the bytes."""
    store = Shelf.store if url.startswith("shelf") else MemoryFileSystem.store
    top = f"/{url.partition('://')[2]}/".replace("//", "/")
    return {path.removeprefix(top): file.getvalue() for path, file in store.items() if path.startswith(top)}


class Pages(BaseHTTPRequestHandler):
    """A server of the files in `files`, by path; `statuses` are what it answers before that."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    statuses: list[int] = []  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        Pages.asked.append(self.path)
        data = self.files.get(self.path.partition("?")[0])
        status = self.statuses.pop(0) if self.statuses else 200 if data is not None else 404
        data = data if status == 200 and data is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def pages(files: dict[str, bytes]) -> Iterator[str]:
    """The address of a server that has these files."""
    Pages.files, Pages.statuses, Pages.asked = files, [], []
    with served(Pages) as address:
        yield address
