"""Palettes as pictures: a PNG of swatches, or the colors of any other PNG."""

import io
import math
import re
import struct
import zlib
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpuquant.errors import ImageFileError
from gpuquant.images.reading import photo_of, read_photo
from gpuquant.images.sources import Source
from gpuquant.images.writing import indexed_image
from gpuquant.locations import Place
from gpuquant.palettes.entries import MAX_ENTRIES, PaletteEntries

MAX_PIXELS = 1 << 24  # of a picture whose colors are a palette
MAX_HEADER = 1 << 24  # bytes before the pixels
MAX_CHUNK = 1 << 22  # bytes of a chunk, or of a profile unpacked: the longest usual ones have some 600,000
STRIP_PIXELS = 1 << 20  # whose colors are sorted together: a picture of too many colors is refused before its end
WIDEST = 1024  # pixels of swatches: it fits a screen
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"tEXt")  # chunks that make entries, or tell how to read them
_NOTE = "gpuquant palette"  # the keyword of a tEXt chunk
_LAYOUT = re.compile(r"([0-9]{1,5}) entries in ([0-9]{1,5}) columns of ([0-9]{1,3}) pixels")

Rows = npt.NDArray[np.uint8]


def write_png(palette: PaletteEntries, _: str) -> bytes:
    """Swatches of an indexed PNG whose palette is this one; above 256 entries of RGB or RGBA, and a note of them.

    The note is a tEXt chunk "gpuquant palette": how many entries there are, in how many columns, and how many pixels
    wide and high each is.
    """
    n_entries = len(palette)
    n_columns, side = _layout(n_entries)
    n_rows = -(-n_entries // n_columns)
    places = np.arange(n_rows * n_columns).clip(max=n_entries - 1).reshape(n_rows, n_columns)
    places = places.repeat(side, axis=0).repeat(side, axis=1)
    file = io.BytesIO()
    if n_entries <= 256:
        indexed_image(places.astype(np.uint8), palette.rows).save(file, "PNG")
    else:
        note = PngInfo()
        note.add_text(_NOTE, f"{n_entries} entries in {n_columns} columns of {side} pixels")
        Image.fromarray(palette.rows[places]).save(file, "PNG", pnginfo=note)
    return file.getvalue()


def _layout(n_entries: int) -> tuple[int, int]:
    """Columns, and the side of a swatch in pixels: a picture of at most WIDEST pixels a side, its rows filled."""
    if n_entries <= 16:
        most, side = 8, 128
    elif n_entries <= 256:
        most, side = 16, 64
    else:
        most = math.isqrt(n_entries - 1) + 1
        side = WIDEST // most
    n_rows = -(-n_entries // most)
    return -(-n_entries // n_rows), side


def read_png(path: Place) -> Rows:  # [K, 4]
    """The palette of an indexed PNG, in its order; of any other the distinct colors, as they come line by line.

    Raises
    ------
    ImageFileError
        The file is not a PNG, is damaged, has too many pixels, or too many colors.
    """
    source = Source(path)
    try:
        with source.open() as file:
            chunks = _chunks(file)
        width, height, _, kind = struct.unpack_from(">IIBB", chunks.get(b"IHDR", b"").ljust(13, b"\0"))
        if kind == 3:
            return _entries(chunks)
        if width * height > MAX_PIXELS:
            raise ImageFileError(f"byte 16: {width} x {height} pixels; a palette's picture has at most {MAX_PIXELS}")
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    pixels = read_photo(source, max_pixels=MAX_PIXELS).in_srgb()
    rows = _with_alpha(np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels)
    swatches = _swatches(rows, chunks.get(b"tEXt", b""))
    if swatches is not None:
        return swatches
    return _distinct(rows.reshape(-1, 4), path)


def _chunks(file: IO[bytes]) -> dict[bytes, bytes]:
    """Read the kept chunks of a PNG that come before its pixels."""
    if file.read(8) != _SIGNATURE:
        raise ImageFileError("byte 0: not a PNG file")
    found: dict[bytes, bytes] = {}
    while (place := file.tell()) < MAX_HEADER:
        header = file.read(8)
        if len(header) < 8:
            raise ImageFileError(f"byte {place}: the file ends before its pixels")
        length, kind = struct.unpack(">I4s", header)
        if kind in (b"IDAT", b"IEND"):
            return found
        if kind not in _KEPT or length > MAX_CHUNK:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        data, check = file.read(length), file.read(4)
        if check != struct.pack(">I", zlib.crc32(kind + data)):
            raise ImageFileError(f"byte {place}: the chunk {kind.decode()} is damaged, or not all there")
        if kind != b"tEXt" or data.startswith(_NOTE.encode() + b"\0"):
            found.setdefault(kind, data)
    raise ImageFileError(f"byte {place}: the pixels have not begun yet")


def _entries(chunks: dict[bytes, bytes]) -> Rows:  # [K, 4]
    """The entries of an indexed PNG, as they look."""
    table = chunks.get(b"PLTE", b"")
    if len(table) % 3 or not 3 <= len(table) <= 768:
        raise ImageFileError(f"byte 33: an indexed PNG with a palette of {len(table)} bytes in place of 3 to 768")
    rows = np.full((len(table) // 3, 4), 255, np.uint8)
    rows[:, :3] = np.frombuffer(table, np.uint8).reshape(-1, 3)
    alpha = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)[: len(rows)]
    rows[: len(alpha), 3] = alpha
    profile = chunks.get(b"iCCP", b"").partition(b"\0")[2][1:]
    if profile:
        image = Image.fromarray(rows[None, :, :3])
        try:
            image.info["icc_profile"] = zlib.decompressobj().decompress(profile, MAX_CHUNK)
        except zlib.error:
            raise ImageFileError("byte 33: the color profile is damaged") from None
        rows[:, :3] = photo_of(image).in_srgb()[0]
    return rows


def _swatches(pixels: Rows, note: bytes) -> Rows | None:  # [H, W, 4] -> [K, 4]
    """The entries of a picture that this module wrote, unless it has another size by now."""
    layout = _LAYOUT.fullmatch(note.partition(b"\0")[2].decode("latin-1"))
    if not layout:
        return None
    n_entries, n_columns, side = map(int, layout.groups())
    if not n_entries or not n_columns or not side:
        return None
    if pixels.shape[:2] != (-(-n_entries // n_columns) * side, n_columns * side):
        return None
    return pixels[::side, ::side].reshape(-1, 4)[:n_entries]


def _distinct(rows: Rows, path: Place) -> Rows:  # [N, 4] -> [K, 4]
    codes = np.ascontiguousarray(rows).view(np.uint32).ravel()
    seen: dict[int, None] = {}
    for start in range(0, len(codes), STRIP_PIXELS):
        found, first = np.unique(codes[start : start + STRIP_PIXELS], return_index=True)
        seen.update(dict.fromkeys(found[first.argsort()].tolist()))
        if len(seen) > MAX_ENTRIES:
            raise ImageFileError(f"{path} has more than {MAX_ENTRIES} colors; quantize it, and take the result")
    return np.fromiter(seen, np.uint32, len(seen)).view(np.uint8).reshape(-1, 4)


def _with_alpha(pixels: Rows) -> Rows:  # [H, W, 3 or 4] -> [H, W, 4]
    if pixels.shape[2] == 4:
        return pixels
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)
