"""Sinks: image files written strip by strip, of which nothing is there until all of it is."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from gpuquant.arguments import check_compression
from gpuquant.errors import ArgumentError
from gpuquant.images.indexed_png import indexed_png, png_memory
from gpuquant.images.packing import Labels
from gpuquant.images.registry import FORMATS, endings_for_all
from gpuquant.images.row_blocks import Block, RowBlocks
from gpuquant.images.tiled_tiff import tiff_memory, tiled_tiff
from gpuquant.images.writing import check_format, indexed_image, name_of, write_image
from gpuquant.threads import worker_threads
from gpuquant.whole_file import BinaryFile, whole_bytes, whole_file

GIF_COPIES = 4  # of the labels: ours, one that Pillow makes, and the file, which noise makes larger than they are


class _Writer(Protocol):
    def __call__(
        self,
        file: IO[bytes],
        size: tuple[int, int],
        colors: npt.NDArray[np.uint8],
        *,
        profile: bytes | None,
        note: str | None,
        compression: int | None,
    ) -> AbstractContextManager[Callable[[Labels], None]]: ...


@contextmanager
def open_sink(
    file: str | Path | BinaryFile,
    size: tuple[int, int],  # width and height
    colors: npt.NDArray[np.uint8],  # [K, 3], or [K, 4] with alpha: the rows of a palette
    *,
    image_format: str | None = None,  # in place of a path's ending
    profile: bytes | None = None,
    note: str | None = None,  # ASCII letters
    compression: int | None = None,
) -> Iterator[Callable[[Labels], None]]:
    """A function that takes the labels of a PNG, TIFF or GIF, row after row, in strips [H, W] of any height.

    They are uint8, or uint16 above 256 colors. The file takes its name when all is written; after an error, an
    interrupt or the death of the process there is none. The pixels are those that `write_image` writes, and no byte
    depends on the number of threads or the height of strips. `sink_memory` tells what it takes.

    Raises
    ------
    ArgumentError
        There is no such format, or it cannot hold the colors, the size or the profile.
    ImageFileError
        The file cannot be written.
    AssertionError
        Rows are missing, or there are too many.
    """
    alpha = colors[:, 3] if colors.shape[1] == 4 else None
    kind = check_format(file, len(colors), image_format=image_format, size=size, alpha=alpha)
    if profile and not FORMATS[kind].holds_profile:
        raise ArgumentError(f"{name_of(file)}: a {kind} holds no color profile; use {endings_for_all()}")
    check_compression(compression)
    whole = whole_file(file) if isinstance(file, str | os.PathLike) else whole_bytes(file)
    with (
        whole as unfinished,
        WRITERS[kind](unfinished, size, colors, profile=profile, note=note, compression=compression) as write,
    ):
        yield write


def sink_memory(
    kind: str,  # "PNG", "TIFF" or "GIF"
    size: tuple[int, int],
    n_colors: int,
    n_channels: int = 3,  # 4 with alpha
) -> int:
    """The most bytes that a sink holds at a time, with the threads that the caller may use; a GIF's is all of it."""
    if kind == "GIF":
        return GIF_COPIES * size[0] * size[1]
    if kind == "PNG":
        return png_memory(size[0], n_colors, n_channels, worker_threads())
    return tiff_memory(size, n_colors, n_channels, worker_threads())


@contextmanager
def _whole_gif(
    file: IO[bytes],
    size: tuple[int, int],
    colors: npt.NDArray[np.uint8],
    *,
    profile: bytes | None,
    note: str | None,
    compression: int | None,
) -> Iterator[Callable[[Labels], None]]:
    """The labels are gathered in one block, as Pillow writes a GIF in one piece."""
    images: list[Block] = []
    blocks = RowBlocks(size, size[1], size[0], np.uint8, images.append)
    yield blocks.write
    blocks.check_all_taken()
    encoded = io.BytesIO()
    write_image(indexed_image(images.pop().rows, colors), encoded, image_format="gif", note=note)
    file.write(encoded.getbuffer())


WRITERS: dict[str, _Writer] = {"PNG": indexed_png, "TIFF": tiled_tiff, "GIF": _whole_gif}
