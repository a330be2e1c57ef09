"""Writing a tiled TIFF from strips of labels, deflated in threads; a BigTIFF if, and only if, it has more than 4 GiB.

Written by the specifications (TIFF 6.0 with its palettes and tiles, BigTIFF): tifffile compresses no labels of less
than 8 bits, and takes tiles from an iterator rather than as they come; libvips takes no palette.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np

from gpuquant.images.note import DESCRIPTION, KEYWORD
from gpuquant.images.packing import Labels, ResultHead, bit_depth, deflate_settings, packed
from gpuquant.images.row_blocks import Block, RowBlocks
from gpuquant.threads import in_order, n_on_their_way, worker_threads

TILE_SIDE = 512  # pixels: joints cost little, and readers that show a part of the image decode little more
MOST_IN_ROW = 1 << 24  # pixels in a row of tiles, which are held together: of wider images tiles are lower
STEP = 16  # of which a tile's sides are multiples, as the specification asks
MOST_CLASSIC = (1 << 32) - 1  # bytes: its offsets have 32 bits
FIRST_TILE = 16  # after a header of either kind

ASCII, SHORT, LONG, UNDEFINED, LONG8 = 2, 3, 4, 7, 16  # types of values, as TIFF numbers them
CODES = {ASCII: "B", SHORT: "H", LONG: "I", UNDEFINED: "B", LONG8: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, PREDICTOR = 256, 257, 258, 259, 262, 277, 284, 317
COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, OFFSETS, BYTE_COUNTS, EXTRA_SAMPLES, PROFILE = 320, 322, 323, 324, 325, 338, 34675
DEFLATE, RGB, PALETTE, CHUNKY, HORIZONTAL, UNASSOCIATED = 8, 2, 3, 1, 2, 2  # values of these tags

Tag = tuple[int, int, list[int]]  # its number, type and values


class TiffForm(NamedTuple):
    """The tiles of a file."""

    head: ResultHead

    @property
    def bits(self) -> int | None:
        """Bits of a label, None for RGB and RGBA: above 256 colors, and with alpha, which no TIFF's palette has."""
        colors = self.head.colors
        return bit_depth(len(colors)) if len(colors) <= 256 and colors.shape[1] == 3 else None

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The labels'."""
        return np.uint8 if len(self.head.colors) <= 256 else np.uint16

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of a tile."""
        width, height = (min(TILE_SIDE, _multiple(side)) for side in self.head.size)
        return width, min(height, max(STEP, MOST_IN_ROW // self.head.size[0] // STEP * STEP))

    @property
    def n_tiles(self) -> tuple[int, int]:
        """The number of tiles side by side, and of rows of tiles."""
        width, height = (-(-side // of_tile) for side, of_tile in zip(self.head.size, self.tile, strict=True))
        return width, height


class _Tile(NamedTuple):
    rows: Labels  # [H, padded width] of a row of tiles
    column: int  # of the tile


def tiff_memory(head: ResultHead, n_workers: int) -> int:
    """The most bytes that a writer holds at a time: rows of tiles, and what each tile on its way takes beside.

    There are the row that is filled, the one whose tiles are handed over, and those whose tiles are on their way.
    """
    form = TiffForm(head)
    area = form.tile[0] * form.tile[1]
    of_pixel = 3 if form.bits else 2 + 3 * head.colors.shape[1]
    n_tiles, n_there = form.n_tiles[0], n_on_their_way(n_workers)
    rows = n_tiles * area * np.dtype(form.dtype).itemsize
    return (2 + -(-n_there // n_tiles)) * rows + (n_there + 1) * area * of_pixel


@contextmanager
def tiled_tiff(
    file: IO[bytes],
    head: ResultHead,
) -> Iterator[Callable[[Labels], None]]:  # [H, W]
    """A function that takes the rows of a TIFF at the smallest bit depth, all of which is there at the end.

    It holds RGB above 256 colors, and RGBA with alpha.
    """
    form = TiffForm(head)
    (width, height), (n_across, n_down) = form.tile, form.n_tiles
    offsets, byte_counts = [], []
    file.write(bytes(FIRST_TILE))
    place = FIRST_TILE

    def take(data: bytes) -> None:
        nonlocal place
        file.write(data)
        offsets.append(place)
        byte_counts.append(len(data))
        place += len(data)

    is_predicted = False  # RGB less the pixel to the left

    def deflated(tile: _Tile) -> bytes:
        return _deflated(form, tile, is_predicted)

    with in_order(deflated, take, min(worker_threads(), n_across * n_down)) as hand_over:

        def hand_over_tiles(block: Block) -> None:
            nonlocal is_predicted
            if block.is_first and form.bits is None:
                middle = _Tile(block.rows, n_across // 2)
                is_predicted = min((False, True), key=lambda predicted: len(_deflated(form, middle, predicted)))
            for column in range(n_across):
                hand_over(_Tile(block.rows, column))

        blocks = RowBlocks(head.size, height, n_across * width, form.dtype, hand_over_tiles)
        yield blocks.write
        blocks.check_all_taken()
    tags = _tags(form, offsets, byte_counts, is_predicted=is_predicted)
    file.write(bytes(-place % 8))
    place += -place % 8
    directory = _directory(tags, place, is_big=False) if place <= MOST_CLASSIC else b""
    is_big = place + len(directory) > MOST_CLASSIC
    file.write(_directory(tags, place, is_big=True) if is_big else directory)
    file.seek(0)
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, place) if is_big else struct.pack("<2sHI", b"II", 42, place))


def _deflated(form: TiffForm, tile: _Tile, is_predicted: bool) -> bytes:
    width, height = form.tile
    labels: Labels = np.zeros((height, width), form.dtype)
    labels[: len(tile.rows)] = tile.rows[:, tile.column * width : (tile.column + 1) * width]
    level, strategy = deflate_settings(form.bits, form.head.compression)
    if form.bits is None:
        pixels = form.head.colors[labels]
        if is_predicted:
            pixels[:, 1:] -= pixels[:, :-1].copy()
        data = pixels.reshape(height, -1)
    else:
        data = packed(labels, form.bits)
    coder = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL + 1, strategy)
    return coder.compress(data.data) + coder.flush()


def _tags(form: TiffForm, offsets: list[int], byte_counts: list[int], *, is_predicted: bool) -> list[Tag]:
    (width, height), colors, profile, note, _ = form.head
    n_channels = colors.shape[1]
    tags: list[Tag] = [
        (WIDTH, LONG, [width]),
        (HEIGHT, LONG, [height]),
        (BITS, SHORT, [form.bits] if form.bits else [8] * n_channels),
        (COMPRESSION, SHORT, [DEFLATE]),
        (PHOTOMETRIC, SHORT, [PALETTE if form.bits else RGB]),
        (SAMPLES, SHORT, [1 if form.bits else n_channels]),
        (PLANAR, SHORT, [CHUNKY]),
        (TILE_WIDTH, LONG, [form.tile[0]]),
        (TILE_HEIGHT, LONG, [form.tile[1]]),
        (OFFSETS, LONG8, offsets),
        (BYTE_COUNTS, LONG, byte_counts),
    ]
    if form.bits:
        levels = np.zeros((3, 1 << form.bits), np.int64)
        levels[:, : len(colors)] = colors.T.astype(np.int64) * 257  # to 16 bits
        tags.append((COLOR_MAP, SHORT, levels.reshape(-1).tolist()))
    elif n_channels == 4:
        tags.append((EXTRA_SAMPLES, SHORT, [UNASSOCIATED]))
    if is_predicted:
        tags.append((PREDICTOR, SHORT, [HORIZONTAL]))
    if profile:
        tags.append((PROFILE, UNDEFINED, list(profile)))
    if note:
        tags.append((DESCRIPTION, ASCII, [*f"{KEYWORD} {note}".encode("latin-1"), 0]))
    return sorted(tags)


def _directory(tags: list[Tag], place: int, *, is_big: bool) -> bytes:
    """The tags, for this place in the file, with the values that do not fit into them after them."""
    count, number = ("Q", "Q") if is_big else ("H", "I")
    room = struct.calcsize(number)
    entry = struct.calcsize(f"<HH{number}") + room
    entries, outside = b"", b""
    end = place + struct.calcsize(f"<{count}") + entry * len(tags) + room
    for tag, kind, values in tags:
        kind = LONG if kind == LONG8 and not is_big else kind
        data = struct.pack(f"<{len(values)}{CODES[kind]}", *values)
        if len(data) > room:
            where = end + len(outside)
            outside += data + bytes(-len(data) % 8)
            data = struct.pack(f"<{number}", where)
        entries += struct.pack(f"<HH{number}", tag, kind, len(values)) + data.ljust(room, b"\0")
    return struct.pack(f"<{count}", len(tags)) + entries + bytes(room) + outside


def _multiple(side: int) -> int:
    return -(-side // STEP) * STEP
