"""PNG beyond what Pillow tells of it: the depth of its samples, what it says of its colors, and a copy without damage.

Sources: Portable Network Graphics (PNG) Specification, third edition (W3C 2025).
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 1_000_000  # that are looked at: 8 GB of compressed pixels, as libpng writes them
MOST_COPIED = 1 << 26  # bytes of metadata: as many as Pillow keeps of texts
MOST_METADATA = 1_000_000  # bytes of one chunk that is looked into; Pillow, too, unpacks no more than 1 MiB of one
LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"pHYs": 9, b"acTL": 8}  # bytes: PNG specification
ABOUT_COLORS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")  # the first of them holds: PNG specification
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
NEEDED = (b"tRNS", b"fcTL", b"fdAT")  # which are part of the picture, as all whose names are capitals


@dataclass(frozen=True)
class Chunk:
    """A part of a PNG; `data` is None where it was not looked into."""

    name: bytes
    start: int
    length: int
    data: bytes | None
    whole: bool = True  # its checksum holds

    @property
    def is_metadata(self) -> bool:
        return bool(self.name[0] & 0x20) and self.name not in NEEDED


@dataclass(frozen=True)
class Png:
    """The header of a PNG, and its first whole chunk of each name about colors or transparency."""

    size: tuple[int, int]  # width, height
    depth: int  # bits of a sample
    color_type: int  # 0 gray, 2 RGB, 3 palette, 4 and 6 with alpha
    chunks: dict[bytes, bytes]
    is_interlaced: bool = False

    @property
    def clear_levels(self) -> tuple[int, ...]:
        """The levels of the color that is transparent, at the file's depth; none if there is no such color."""
        data, n_levels = self.chunks.get(b"tRNS", b""), {0: 1, 2: 3}.get(self.color_type, 0)
        if not n_levels or len(data) < 2 * n_levels:
            return ()
        return tuple(level & ((1 << self.depth) - 1) for level in struct.unpack_from(f">{n_levels}H", data))


def read_png(file: BinaryIO) -> Png | None:
    """Read the chunks before the pixels; None if it is no PNG."""
    header: tuple[tuple[int, int], int, int] | None = None
    is_interlaced = False
    chunks: dict[bytes, bytes] = {}
    for chunk in _chunks(file):
        if chunk.name == b"IHDR" and chunk.data is not None and len(chunk.data) >= 10:
            header = struct.unpack_from(">2I", chunk.data), chunk.data[8], chunk.data[9]
            is_interlaced = chunk.data[12:13] == b"\1"
        elif chunk.name == b"IDAT":
            break  # what is about colors comes before it, or does not hold
        elif chunk.name in (*ABOUT_COLORS, b"tRNS") and chunk.whole and chunk.data is not None:
            chunks.setdefault(chunk.name, chunk.data)
    chunks = {name: data for name, data in chunks.items() if len(data) >= LENGTHS.get(name, 0)}
    return Png(*header, chunks, is_interlaced) if header else None


def damaged_metadata(file: BinaryIO) -> dict[int, bytes]:  # where each begins: its name
    """Find the metadata of a PNG that stop Pillow."""
    return {
        chunk.start: chunk.name
        for chunk in _chunks(file)
        if chunk.is_metadata and (not chunk.whole or chunk.data is None or not _can_be_read(chunk))
    }


def without_metadata(file: BinaryIO, left_out: dict[int, bytes]) -> BinaryIO:
    """Copy a PNG into memory without the chunks that begin at some places."""
    kept = io.BytesIO()
    kept.write(SIGNATURE)
    for chunk in _chunks(file):
        if chunk.start not in left_out:
            file.seek(chunk.start)
            kept.write(file.read(chunk.length + 12))
    kept.seek(0)
    return kept


def miniature(file: BinaryIO) -> BinaryIO | None:
    """A PNG of one pixel with all that the file says beside its pixels, before and after them.

    None if it has no pixels, is an animation, or says more than `MOST_COPIED` bytes.
    """
    made, has_pixels = io.BytesIO(), False
    made.write(SIGNATURE)
    for chunk in _chunks(file):
        if (
            chunk.name in (b"acTL", b"fcTL", b"fdAT")
            or made.tell() + chunk.length * (chunk.name != b"IDAT") > MOST_COPIED
        ):
            return None
        if chunk.name == b"IHDR" and chunk.data is not None:
            made.write(_chunk(b"IHDR", struct.pack(">2I", 1, 1) + chunk.data[8:12] + b"\0"))  # not interlaced
        elif chunk.name != b"IDAT":
            file.seek(chunk.start)
            made.write(file.read(chunk.length + 12))
        elif not has_pixels:
            made.write(_chunk(b"IDAT", zlib.compress(bytes(9))))  # the filter, and up to 4 samples of 16 bits
            has_pixels = True
    made.seek(0)
    return made if has_pixels else None


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _can_be_read(chunk: Chunk) -> bool:
    data = chunk.data or b""
    if len(data) < LENGTHS.get(chunk.name, 0):
        return False
    if chunk.name in (b"zTXt", b"iCCP"):
        rest = data.partition(b"\0")[2]
        unpacked = zlib.decompressobj()
        try:
            unpacked.decompress(rest[1:], MOST_METADATA)
        except zlib.error:
            return False
        return rest[:1] == b"\0" and unpacked.eof
    return chunk.name != b"iTXt" or data.partition(b"\0")[2][:1] == b"\0"  # compressed ones may be bombs


def _chunks(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks up to the last one that is there in full."""
    file.seek(0)
    if file.read(8) != SIGNATURE:
        return
    for _ in range(MOST_CHUNKS):
        start = file.seek(0, io.SEEK_CUR)
        head = file.read(8)
        if len(head) < 8 or not head[4:].isalpha():
            return
        length, name = struct.unpack(">I4s", head)
        data = None
        if name != b"IDAT" and length <= MOST_METADATA:
            data, checksum = file.read(length), file.read(4)
            whole = len(checksum) == 4 and zlib.crc32(name + data) == int.from_bytes(checksum)
            yield Chunk(name, start, length, data, whole)
        else:
            yield Chunk(name, start, length, None)
        if name == b"IEND":
            return
        file.seek(start + length + 12)
