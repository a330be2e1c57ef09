"""The directories of tags of a TIFF file, or of an EXIF block: read by the specification (TIFF 6.0), within bounds."""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

MOST_DIRECTORIES = 32  # that are looked at in one file
MOST_TAGS = 4096  # in a directory; a camera writes some 60
MOST_BYTES = 400_000  # of one value; a transfer function, the longest that is needed, has 393,216
MOST_IN_ALL = 4_000_000  # bytes of all values: tags may name the same ones again and again
FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
RATIONALS = {5: "I", 10: "i"}  # types of two numbers each
SIZES = {2: 1, 5: 8, 10: 8} | {kind: struct.calcsize("<" + code) for kind, code in FORMATS.items()}

EXIF, SUB_DIRECTORIES, INTEROPERABILITY = 34665, 330, 40965  # tags that name further directories

Value = tuple[int | float, ...] | str


@dataclass(frozen=True, eq=False)
class Directory:
    """The tags of a directory, and where the next one is."""

    tags: dict[int, Value]  # as far as they can be read
    next: int  # 0 where there is none
    whole: bool  # no tag is missing

    def number(self, tag: int, default: int | None = None) -> int | None:
        """A tag that is one integer."""
        value = self.tags.get(tag)
        return value[0] if isinstance(value, tuple) and value and isinstance(value[0], int) else default

    def numbers(self, tag: int) -> tuple[float, ...]:
        """A tag that is numbers; none of them where it is not there."""
        value = self.tags.get(tag, ())
        return () if isinstance(value, str) else value


class DirectoryFile:
    """A file or block that begins with a TIFF header; `first` is 0 where it does not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n_left, self._n_directories = MOST_IN_ALL, 0
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)
        header = file.read(16)
        self._order = {b"II": "<", b"MM": ">"}.get(header[:2], "")
        self.first, self._big = 0, False
        if not self._order or len(header) < 8:
            return
        version = struct.unpack_from(self._order + "H", header, 2)[0]
        if version == 42:
            self.first = struct.unpack_from(self._order + "I", header, 4)[0]
        elif version == 43 and len(header) == 16:
            self.first, self._big = struct.unpack_from(self._order + "Q", header, 8)[0], True

    def at(self, offset: int) -> Directory:
        """The directory at a place; without tags if there is none."""
        count, entry, link = ("Q", 20, "Q") if self._big else ("H", 12, "I")
        head = self._read(offset, struct.calcsize("<" + count))
        self._n_directories += 1
        if head is None or self._n_directories > MOST_DIRECTORIES:
            return Directory({}, 0, whole=False)
        n_tags = min(struct.unpack(self._order + count, head)[0], MOST_TAGS)
        self._file.seek(offset + len(head))
        table = self._file.read(n_tags * entry + struct.calcsize("<" + link))
        tags: dict[int, Value] = {}
        n_there = min(n_tags, len(table) // entry)
        whole = n_there == n_tags
        for place in range(n_there):
            tag = struct.unpack_from(self._order + "H", table, place * entry)[0]
            value = self._value(table[place * entry : (place + 1) * entry])
            if value is None:
                whole = False
            else:
                tags.setdefault(tag, value)
        rest = table[n_tags * entry :]
        is_link = len(rest) == struct.calcsize("<" + link)
        return Directory(tags, struct.unpack(self._order + link, rest)[0] if is_link else 0, whole)

    def chain(self) -> list[Directory]:
        """The first directory and those that follow it."""
        found: list[Directory] = []
        offset, seen = self.first, set[int]()
        while offset and offset not in seen and len(found) < MOST_DIRECTORIES:
            seen.add(offset)
            found.append(self.at(offset))
            offset = found[-1].next
        return found

    def below(self, directory: Directory, tag: int = SUB_DIRECTORIES) -> list[Directory]:
        """The directories that a tag of another one names."""
        offsets = directory.numbers(tag)[:MOST_DIRECTORIES]
        return [self.at(offset) for offset in offsets if isinstance(offset, int) and offset > 0]

    def _value(self, entry: bytes) -> Value | None:
        kind = struct.unpack_from(self._order + "H", entry, 2)[0]
        count, room = struct.unpack_from(self._order + ("Q" if self._big else "I"), entry, 4)[0], 8 if self._big else 4
        n_bytes = count * SIZES.get(kind, 0)
        if kind not in SIZES:
            return None
        if n_bytes > MOST_BYTES:  # a preview, or a maker's notes: not needed, and not damaged
            return ()
        data: bytes | None = entry[len(entry) - room :][:n_bytes]
        if n_bytes > room:
            data = self._read(struct.unpack(self._order + ("Q" if self._big else "I"), entry[-room:])[0], n_bytes)
        if data is None:
            return None
        if kind == 2:
            return data.split(b"\0")[0].decode("latin-1")
        if kind in RATIONALS:
            pairs = struct.unpack(f"{self._order}{2 * count}{RATIONALS[kind]}", data)
            return tuple(top / below if below else 0.0 for top, below in zip(pairs[::2], pairs[1::2], strict=True))
        return struct.unpack(f"{self._order}{count}{FORMATS[kind]}", data)

    def _read(self, offset: int, n_bytes: int) -> bytes | None:
        self._n_left -= n_bytes
        if offset + n_bytes > self._size or self._n_left < 0:
            return None
        self._file.seek(offset)
        data = self._file.read(n_bytes)
        return data if len(data) == n_bytes else None


def exif_directories(block: bytes) -> DirectoryFile:
    """The directories of an EXIF block, with or without the letters that it begins with in JPEG."""
    return DirectoryFile(io.BytesIO(block.removeprefix(b"Exif\0\0")))
