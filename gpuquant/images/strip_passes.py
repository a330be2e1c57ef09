"""Passes over a photo that libvips decodes in strips: what stays of one for the next, turning, and rendering."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images import vips
from gpuquant.images.reading import Photo
from gpuquant.images.room import enough_for
from gpuquant.images.samples import Pixels
from gpuquant.images.sources import Source, told
from gpuquant.images.strip_head import Head
from gpuquant.images.turned import FROM_THE_END, TURNS, InFile, InMemory, Store
from gpuquant.images.turning import SIDEWAYS
from gpuquant.images.words import words_of

PART_PIXELS = 1 << 21  # of a strip that is turned


class Passes:
    """A photo that is decoded in strips: once where its pixels fit the budget or are turned, or else for each pass.

    Pixels that do not fit go to a file only to be turned. Writing 100 megapixels and reading them again takes 0.45
    seconds of the CPU, and three bytes of the disk for each; decoding them takes 0.35 (JPEG), 0.6 (PNG, deflated TIFF),
    0.85 (LZW) or 0.1 (no compression), and there are two passes (measured on a photo of 70 megapixels).
    """

    def __init__(
        self,
        source: Source,
        head: Head,
        size: vips.Size,
        budget: int,
        folder: str | Path | None,
        whole: Callable[[], Photo] | None,  # reads it by other means, if it fits into memory
        turned: Callable[[float], None] | None,  # is told the share that is turned
    ) -> None:
        self._source, self._head, self._size, self._folder = source, head, size, folder
        self._whole, self._tell = whole, turned or (lambda share: None)
        height, width = (size.width, size.height)[:: 1 if head.orientation in SIDEWAYS else -1]
        assert head.rendering is not None
        n_channels = 4 if head.has_alpha else 1 if head.rendering.is_gray else 3
        self.shape = (height, width) if n_channels == 1 else (height, width, n_channels)
        self._keeps = height * width * n_channels + head.n_held <= budget
        self._turns = head.orientation in (*FROM_THE_END, *SIDEWAYS)
        self.how = "decoded once, and kept in memory" if self._keeps else "decoded again for each pass"
        if self._turns and not self._keeps:
            self.how = "decoded once, and turned through a temporary file"
        self.notes = head.notes
        self._store: Store | None = None  # of all pixels, once they are there
        self._running: list[vips.Rows] = []

    def close(self) -> None:
        for rows in list(self._running):
            rows.close()
        if isinstance(self._store, InFile):
            self._store.close()

    def read(self, n_rows: int) -> Iterator[Pixels]:
        if self._store is None and self._turns:
            self._store = self._turned()
        if self._store is not None:
            yield from self._store.read(n_rows)
            return
        kept = InMemory(self.shape, 1) if self._keeps and n_rows < self.shape[0] else None
        top = 0
        try:
            for strip in self._decoded(n_rows):
                if self._keeps and len(strip) == self.shape[0]:
                    kept = InMemory(self.shape, 1, strip)
                elif kept:
                    kept.fill(top, strip)
                top += len(strip)
                yield strip
        except vips.DecodingError as error:
            pixels = self._by_pillow(error)
            self._store = InMemory(self.shape, 1, pixels)
            yield from InMemory(pixels[top:].shape, 1, pixels[top:]).read(n_rows)
            return
        self._store = self._store or kept

    def _turned(self) -> Store:
        """Decode a photo whose rows do not come in their order."""
        orientation = self._head.orientation
        store = InMemory(self.shape, orientation) if self._keeps else InFile(self.shape, orientation, self._folder)
        n_rows = max(1, PART_PIXELS // self._size.width)
        try:
            for place, strip in enumerate(self._decoded(n_rows)):
                store.fill(place * n_rows, strip)
                self._tell(min(1.0, (place + 1) * n_rows / self._size.height))
            return store
        except BaseException as error:
            if isinstance(store, InFile):
                store.close()
            if not isinstance(error, vips.DecodingError):
                raise
            return InMemory(self.shape, 1, self._by_pillow(error))

    def _by_pillow(self, error: vips.DecodingError) -> Pixels:
        """Read the photo whole where libvips gives up: Pillow reads some damaged ones, and else says what is wrong."""
        if self._whole is None:
            words = f"{self._source.name}: the image cannot be decoded: {words_of(OSError(str(error)))}"
            way_out = f"some damaged files can be read whole, with {enough_for(self._head.n_bytes)}"
            raise ImageFileError(f"{words}; {way_out}") from None
        photo = self._whole()
        pixels, self.notes = photo.pixels, photo.notes
        pixels = pixels if pixels.ndim == len(self.shape) else pixels[:, :, None].repeat(3, axis=2)
        if pixels.shape == self.shape:
            return pixels
        opaque = np.full((*self.shape[:2], 1), 255, np.uint8)
        return np.concatenate([pixels, opaque], axis=2, dtype=np.uint8)

    def _decoded(self, n_rows: int) -> Iterator[Pixels]:
        """Strips as they are stored, but mirrored ones as they are to be seen."""
        rows = vips.Rows(self._source, self._head.image_format, self._size, n_rows, stoppable=self._head.n_held > 0)
        self._running.append(rows)
        try:
            rows.start()
            for samples in rows:
                strip = rendered(samples, self._head)
                yield TURNS[2](strip) if self._head.orientation == 2 else strip
        except (OSError, MemoryError) as error:
            with told(self._source):
                raise error from None
        finally:
            rows.close()
            self._running.remove(rows)


def rendered(samples: vips.Samples, head: Head) -> Pixels:  # of [h, W, bands]
    """Pixels of samples as libvips decodes them."""
    assert head.rendering is not None
    if samples.dtype == np.uint16 and head.mode != "I;16":
        samples = (samples >> 8).astype(np.uint8)
    alpha = samples[:, :, -1:] if head.has_alpha else None
    colors = samples[:, :, :-1] if head.has_alpha else samples
    if colors.shape[2] == 1:
        colors = colors.repeat(3, axis=2) if head.mode == "RGB" else colors[:, :, 0]
    pixels: Pixels = colors if head.rendering.is_plain else head.rendering.render(_image(colors, head.mode))
    if alpha is None:
        return pixels
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)
    return np.concatenate([pixels, alpha], axis=2, dtype=np.uint8)


def _image(colors: vips.Samples, mode: str) -> Image.Image:
    """Samples as Pillow would have decoded them."""
    data = np.ascontiguousarray(colors)
    if mode == "I;16":
        data = data.astype("<u2", copy=False)
    return Image.frombuffer(mode, (colors.shape[1], colors.shape[0]), data.tobytes(), "raw", mode, 0, 1)
