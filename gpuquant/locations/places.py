"""Places of files: `Path`, or `Location` for a URL, which has those of its methods that are needed."""

import io
import mimetypes
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations.blocks import BLOCK, Blocks
from gpuquant.locations.copies import IN_MEMORY, LocalCopy
from gpuquant.locations.stores import Address, renames
from gpuquant.whole_file import DESCRIPTORS

OBJECT_STORES = ("s3", "gs", "memory", "abfs", "abfss", "az", "oss", "oci")  # where what is put is whole or not there
NAMES_OF_KIND = {"s3": "ContentType", "gs": "content_type"}  # of what s3fs and gcsfs take

NO_BUCKET = "The specified bucket"  # does not exist: words of S3 and what is like it; else the path stands there
PROBE = ".gpuquant-probe"


@dataclass(frozen=True, repr=False)
class Location(Address):
    """A place at a URL. Two are equal where their addresses are."""

    n_bytes: int | None = field(default=None, compare=False)  # where a listing told it
    ends_with_slash: bool = field(default=False, compare=False)  # as it was given: a folder

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def store(self) -> tuple[str, str, str]:
        """Equal of all places that one listing can have: the protocol, user info, and bucket or host."""
        return self.protocol, self.secrets[0], "" if self.protocol == "memory" else self.path.partition("/")[0]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "Location":
        return self._at(self.path.rpartition("/")[0])

    def with_name(self, name: str) -> "Location":
        return self.parent / name

    def __truediv__(self, place: str) -> "Location":
        return self._at(f"{self.path}/{place}" if self.path else place)

    def _at(self, path: str, n_bytes: int | None = None) -> "Location":
        return Location(self.protocol, path, (self.secrets[0], ""), n_bytes)

    def is_file(self) -> bool:
        """True where a file is there.

        Raises
        ------
        ImageFileError
            Nobody answers, or it is not for us to know.
        """
        return self.details() is not None

    def is_folder(self) -> bool:
        """True of a URL that ends with a slash, or below which something is while it is no file itself."""
        if self.ends_with_slash or not self.path:
            return True
        if self.is_read_only:
            return False

        def look(fs: Any, path: str) -> bool:
            try:
                return fs.info(path)["type"] == "directory" and not fs.isfile(path)
            except FileNotFoundError:
                return False

        return self.attempt(look)

    def size(self) -> int | None:
        """The bytes of a file; None where nobody tells.

        Raises
        ------
        ImageFileError
            There is no such file.
        """
        if self.n_bytes is not None or self.is_read_only:
            return self.n_bytes
        info = self.details()
        if info is None:
            is_folder = self.is_folder()
            advice = "is a folder; name a photo in it, or take all of them with quantize_files (gpuquant batch)"
            raise ImageFileError(f"{self} {advice}" if is_folder else f"{self}: no such file")
        return info.get("size")

    def copy(self) -> LocalCopy:
        """All of the file."""
        return LocalCopy(self, self.size())

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, of which only those blocks come that are read, where that can be."""
        assert mode == "rb", "whole_file writes"
        n_bytes = self.size()
        if n_bytes is None:
            return self.copy().open()
        return io.BufferedReader(Blocks(self, n_bytes), BLOCK)

    def check_target(self) -> None:
        """Raise unless files can be written to such URLs, and what that needs is installed."""
        if self.is_read_only:
            raise ArgumentError(f"{self}: {self.protocol}:// can only be read; name another place for what is written")
        if self.secrets[1]:
            raise ArgumentError(f"{self}: a URL with a query can only be read; name what is written without one")
        system, _ = self.system()
        if self.protocol not in OBJECT_STORES and not renames(system):
            reason = f"{self.protocol}:// has no way to replace a file in one step"
            raise ArgumentError(f"{self}: {reason}; name another place for what is written")

    def check_writable(self) -> None:
        """Write a small file into this folder, and remove it.

        Raises
        ------
        ArgumentError
            From there one can only read.
        ImageFileError
            Nothing can be written there.
        """
        self.check_target()
        probe = self / PROBE
        probe.put(io.BytesIO(b"gpuquant"), shown=str(self))
        with suppress(ImageFileError):  # of one who may write, but not remove
            probe.attempt(lambda fs, path: fs.rm_file(path))

    def listed(self, *, recursive: bool) -> Iterator[tuple[str, int | None]]:
        """The files below this folder: "sub/a.jpg", and the bytes; folders in it end with a slash: "sub/".

        Raises
        ------
        ArgumentError
            No folders are listed at such URLs.
        ImageFileError
            It cannot be listed.
        """
        if self.is_read_only:
            raise ArgumentError(f"{self}: folders at {self.protocol}:// cannot be listed; name the files")

        def look(fs: Any, path: str) -> tuple[str, list[dict[str, Any]]]:
            try:
                found = list(fs.find(path, detail=True).values()) if recursive else fs.ls(path, detail=True)
            except FileNotFoundError as error:
                if str(error).startswith(NO_BUCKET):
                    raise
                found = []
            return path.rstrip("/") + "/", found

        top, found = self.attempt(look, "listed")
        for one in found:
            place = one["name"].removeprefix(top)
            if place and place != one["name"]:  # or the folder itself
                is_folder = one["type"] == "directory" and not place.endswith("/")
                yield (f"{place}/", None) if is_folder else (place, one.get("size"))

    def at(self, place: str, n_bytes: int | None) -> "Location":
        """A file below this folder that was listed."""
        return self._at((self / place).path, n_bytes)

    def details(self) -> dict[str, Any] | None:
        """The details of a file; None where there is none."""

        def look(fs: Any, path: str) -> dict[str, Any] | None:
            try:
                info: dict[str, Any] = fs.info(path)
            except FileNotFoundError:
                return None
            if info["type"] == "directory":  # a file may have the same name
                return {} if fs.isfile(path) else None
            return info

        return self.attempt(look)

    def put(self, file: Any, shown: str = "") -> None:
        """Send all of a file, which is there then as a whole, and of what kind it is: else no browser would show it.

        Raises
        ------
        ImageFileError
            It cannot be written.
        """
        n_bytes = file.seek(0, io.SEEK_END)
        kind, name = mimetypes.guess_type(self.name)[0], NAMES_OF_KIND.get(self.protocol)
        options = {name: kind} if name and kind else {}

        def put(fs: Any, path: str) -> None:
            if n_bytes > IN_MEMORY and DESCRIPTORS.is_dir() and self.protocol != "memory":
                file.flush()
                fs.put_file(str(DESCRIPTORS / str(file.fileno())), path, **options)
            else:
                file.seek(0)
                fs.pipe_file(path, file.read(), **options)

        def is_gone(fs: Any, path: str) -> bool:
            try:
                fs.info(path)
            except FileNotFoundError:
                return True
            return False

        def put_and_rename(fs: Any, path: str) -> None:
            folder, slash, _ = path.rpartition("/")
            fs.makedirs(folder, exist_ok=True)
            unfinished = f"{folder}{slash}.gpuquant-{secrets.token_hex(6)}.part"
            try:
                put(fs, unfinished)
                fs.mv(unfinished, path)
                fs.invalidate_cache()
                is_there = fs.info(path).get("size") in (None, n_bytes)
                if not is_there or not is_gone(fs, unfinished):  # some servers refuse in silence
                    raise OSError("what is there is not replaced; remove it first")
            except BaseException:
                with suppress(Exception):
                    fs.rm_file(unfinished)
                raise

        self.attempt(put if self.protocol in OBJECT_STORES else put_and_rename, "written", shown)


Place = Path | Location
"""Where a file or a folder is."""


def identity_of(place: Place) -> str:
    """A text that two places share if they are one: symlinks are followed. On the web the query is a part of it."""
    if isinstance(place, Path):
        return os.path.realpath(place)
    return f"{place}{place.secrets[1]}" if place.is_read_only else str(place)


def is_below(place: str) -> bool:
    """Tell whether a place such as "sub/a.png" lies below every folder that it is joined to."""
    return "\0" not in place and not {"", ".", ".."} & set(place.split("/"))


def joined(folder: Place, place: str) -> Place:
    """A place such as "sub/a.png" below a folder.

    Raises
    ------
    ArgumentError
        It leads out of the folder, or has a name that no file has.
    """
    if not is_below(place):
        raise ArgumentError(f"{place!r} is no place below {folder}")
    return folder / place
