"""Labels, palettes and other readers, to test files that are written strip by strip."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from gpuquant.images.packing import bit_depth, deflate_settings
from gpuquant.images.sinks import open_sink
from gpuquant.images.writing import indexed_image

NOTE = '{"n_colors": 8}'
PROFILE = bytes(range(256)) * 3
DEPTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 16: 4, 17: 8, 256: 8}  # bits of so many colors
SIZES = [(1, 1), (1, 40), (40, 1), (7, 5), (9, 300), (531, 18), (600, 530)]  # widths that fill no bytes, edges of tiles


class Case(NamedTuple):
    labels: npt.NDArray[Any]  # [H, W]
    colors: npt.NDArray[np.uint8]  # [K, 3] or [K, 4]

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.labels.shape
        return width, height

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:  # [H, W, 3 or 4]
        pixels: npt.NDArray[np.uint8] = self.colors[self.labels]
        return pixels


def case(n_colors: int, size: tuple[int, int], n_channels: int = 3, *, seed: int = 0) -> Case:
    """Labels of which many are like their neighbors, as in photos, with every color and some noise."""
    draws = np.random.default_rng(seed)
    width, height = size
    coarse = draws.integers(0, n_colors, (height // 6 + 1, width // 9 + 1))
    labels = np.repeat(np.repeat(coarse, 6, 0), 9, 1)[:height, :width]
    noisy = draws.random((height, width)) < 0.2
    labels[noisy] = draws.integers(0, n_colors, noisy.sum())
    kind = np.uint8 if n_colors <= 256 else np.uint16
    return Case(labels.astype(kind), draws.integers(0, 256, (n_colors, n_channels), dtype=np.uint8))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_colors = draw(st.sampled_from([*DEPTHS, 300]))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return case(n_colors, size, draw(st.sampled_from([3, 4])), seed=draw(st.integers(0, 1000)))


def write(path: Path, one: Case, heights: int | list[int] = 7, **options: Any) -> bytes:
    """Write a file in strips of these heights, over and over again."""
    steps = [heights] if isinstance(heights, int) else heights
    with open_sink(path, one.size, one.colors, **options) as take:
        start, number = 0, 0
        while start < len(one.labels):
            strip = one.labels[start : start + steps[number % len(steps)]].copy()
            take(strip)
            strip[:] = 0  # which the sink must not look at any more
            start, number = start + steps[number % len(steps)], number + 1
    return path.read_bytes()


def pillows_png(one: Case, *, note: str = "", profile: bytes | None = None) -> bytes:
    """The same as Pillow writes it, all at once, with the same settings of zlib's."""
    is_indexed, texts, file = len(one.colors) <= 256, PngImagePlugin.PngInfo(), io.BytesIO()
    image = indexed_image(one.labels, one.colors) if is_indexed else Image.fromarray(one.pixels)
    if note:
        texts.add_text("gpuquant", note)
    level, strategy = deflate_settings(bit_depth(len(one.colors)) if is_indexed else None, None)
    image.save(file, "PNG", pnginfo=texts, icc_profile=profile, compress_level=level, compress_type=strategy)
    return file.getvalue()


def decoded(path: Path, n_channels: int) -> npt.NDArray[np.uint8]:  # [H, W, 3 or 4]
    """The pixels by Pillow."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA" if n_channels == 4 else "RGB"))


class Chunk(NamedTuple):
    kind: bytes
    data: bytes


def chunks(data: bytes) -> Iterator[Chunk]:
    """Walk over the chunks of a PNG, and check their lengths and sums."""
    stream = io.BytesIO(data)
    assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
    while True:
        length, kind = struct.unpack(">I4s", stream.read(8))
        content = stream.read(length)
        assert len(content) == length
        assert struct.unpack(">I", stream.read(4))[0] == zlib.crc32(kind + content)
        yield Chunk(kind, content)
        if kind == b"IEND":
            break
    assert stream.read() == b""


def rows_of_png(data: bytes) -> npt.NDArray[np.uint8]:  # [H, W] of labels, or [H, W, 3 or 4]
    """Decode a PNG by its specification: every filter, every depth."""
    header, packed = b"", b""
    for kind, content in chunks(data):
        header = content if kind == b"IHDR" else header
        packed += content if kind == b"IDAT" else b""
    width, height, bits, color_type, *_ = struct.unpack(">IIBBBBB", header)
    n_channels = {2: 3, 3: 1, 6: 4}[color_type]
    row_bytes = -(-width * bits * n_channels // 8)
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + row_bytes)
    out, step = np.zeros((height, row_bytes), np.uint8), max(1, bits * n_channels // 8)
    for number, row in enumerate(rows):
        match row[0]:
            case 0:
                out[number] = row[1:]
            case 1:
                out[number] = row[1:].reshape(-1, step).cumsum(0, dtype=np.uint8).reshape(-1)
            case 2:
                out[number] = row[1:] + (out[number - 1] if number else 0)
            case _:
                raise AssertionError("a filter that is not written")
    if bits == 8:
        return out if n_channels == 1 else out.reshape(height, width, n_channels)
    places = np.arange(8 // bits)[::-1] * bits
    labels = out[..., None] >> places & (1 << bits) - 1
    return np.asarray(labels.reshape(height, -1)[:, :width], np.uint8)
