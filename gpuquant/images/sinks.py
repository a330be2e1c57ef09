"""Sinks: image files written strip by strip, of which nothing is there until all of it is."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO

import numpy as np

from gpuquant.arguments import check_compression
from gpuquant.images.indexed_png import indexed_png, png_memory
from gpuquant.images.note import KEYWORD
from gpuquant.images.packing import Bytes, Labels, ResultHead
from gpuquant.images.row_blocks import Block, RowBlocks
from gpuquant.images.targets import ImageTarget, whole_target
from gpuquant.images.tiled_tiff import tiff_memory, tiled_tiff
from gpuquant.images.writing import check_format, encoding, indexed_image
from gpuquant.threads import worker_threads

GIF_COPIES = 4  # of the labels: ours, one that Pillow makes, and the file, which noise makes larger than they are


@contextmanager
def open_sink(
    file: ImageTarget,
    size: tuple[int, int],  # width and height
    colors: Bytes,  # [K, 3], or [K, 4] with alpha: the rows of a palette
    *,
    image_format: str | None = None,  # in place of a path's ending
    profile: bytes | None = None,
    note: str | None = None,  # ASCII letters, which `read_options` reads
    compression: int | None = None,
) -> Iterator[Callable[[Labels], None]]:
    """A function that takes the labels of a PNG, TIFF or GIF, row after row, in strips [H, W] of any height.

    They are uint8, or uint16 above 256 colors; no format renumbers them. The file takes its name, or goes to the
    object, when all is written; after an error, an interrupt or the death of the process there is none. No byte depends
    on the number of threads or the height of strips. `sink_memory` tells what it takes.

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
    kind = check_format(file, len(colors), image_format=image_format, size=size, alpha=alpha, profile=profile)
    check_compression(compression)
    head = ResultHead(size, colors, profile, note, compression)
    with whole_target(file) as unfinished, WRITERS[kind](unfinished, head) as write:
        yield write


def sink_memory(
    kind: str,  # "PNG", "TIFF" or "GIF"
    size: tuple[int, int],
    n_colors: int,
    n_channels: int = 3,  # 4 with alpha
) -> int:
    """The most bytes that a sink holds at a time, with the threads that the caller may use; a GIF's is all of it."""
    head = ResultHead(size, np.zeros((n_colors, n_channels), np.uint8))
    if kind == "GIF":
        return GIF_COPIES * size[0] * size[1]
    return (png_memory if kind == "PNG" else tiff_memory)(head, worker_threads())


@contextmanager
def _whole_gif(
    file: IO[bytes],
    head: ResultHead,
) -> Iterator[Callable[[Labels], None]]:  # [H, W]
    """The labels are gathered in one block, as Pillow writes a GIF in one piece."""
    images: list[Block] = []
    blocks = RowBlocks(head.size, head.size[1], head.size[0], np.uint8, images.append)
    yield blocks.write
    blocks.check_all_taken()
    image, encoded = indexed_image(images.pop().rows, head.colors), io.BytesIO()
    alpha = image.info.pop("transparency", b"")
    clear = {"transparency": alpha.index(0)} if 0 in alpha else {}
    with encoding():
        comment = f"{KEYWORD} {head.note}" if head.note else ""
        image.save(encoded, "GIF", optimize=False, comment=comment.encode(), **clear)
    file.write(encoded.getbuffer())


WRITERS: dict[str, Callable[[IO[bytes], ResultHead], AbstractContextManager[Callable[[Labels], None]]]] = {
    "PNG": indexed_png,
    "TIFF": tiled_tiff,
    "GIF": _whole_gif,
}
