"""Thumbnails of a photo and of its result, made of strips of pixels and of labels as they pass by."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from gpuquant.report.similarity import ssim
from gpuquant.tensors import as_numpy

EDGE = 320  # pixels of the longer side: the width of a card on a phone
SAMPLED = 960  # pixels of the longer side, about, that are left of more: 4 of them or more make one of a thumbnail
QUALITY = 82  # of a JPEG: 15 to 25 kB for a thumbnail of a photo
WHITE = (255, 255, 255)
COMMENT = "a thumbnail by gpuquant"

Pixels = npt.NDArray[np.uint8]
Convert = Callable[[Pixels], Pixels]
Picture = Image.Image


class Samples:
    """Every so many-th pixel of every so many-th row of what passes by: a sample of all takes a tenth of the time.

    The distance is odd, so that the sample does not fall in step with the masks of ordered dithering, whose sides are
    powers of two.
    """

    def __init__(self, shape: tuple[int, int]) -> None:  # height and width
        self._height, self._step = shape[0], max(shape) // SAMPLED | 1
        self._top = 0  # of the next strip
        self._strips: list[npt.NDArray[np.integer[Any]]] = []

    def add(self, strip: npt.NDArray[np.integer[Any]] | Tensor) -> None:  # [h, W] or [h, W, C]
        """Take the next rows; none after the last one."""
        if self._top < self._height:
            step = self._step
            self._strips.append(as_numpy(strip[-self._top % step :: step, ::step]).copy())
            self._top += len(strip)

    def watch(self, read: Callable[[int], Iterator[Pixels]]) -> Callable[[int], Iterator[Pixels]]:
        """The same strips for someone else, of which the first pass is taken."""

        def strips(n_rows: int) -> Iterator[Pixels]:
            for strip in read(n_rows):
                self.add(strip)
                yield strip

        return strips

    @property
    def values(self) -> npt.NDArray[np.integer[Any]]:
        return np.concatenate(self._strips)


class Thumbnails:
    """The two thumbnails of a photo: those who work on it add the strips of its pixels, and of its labels."""

    def __init__(
        self,
        shape: tuple[int, int],  # height and width
        *,
        to_srgb: Convert | None = None,  # for stored colors [M, 3]
        profile: bytes | None = None,  # that both are to be seen in, in place of that
        background: tuple[int, int, int] | None = None,
    ) -> None:
        self.pixels, self.labels = Samples(shape), Samples(shape)
        self._to_srgb, self._profile, self._background = to_srgb, profile, background

    def made(self, rows: Pixels) -> "MadeThumbnails":  # [K, 3] or [K, 4]: of the palette
        """The thumbnails, when all is added."""
        before = thumbnail(self.pixels.values, to_srgb=self._to_srgb, background=self._background)
        after = thumbnail(np.take(rows, self.labels.values, axis=0), background=self._background)
        return MadeThumbnails(before, after, self._profile)


class MadeThumbnails:
    """Two thumbnails, of which there may be one or none."""

    def __init__(self, before: Picture | None, after: Picture | None, profile: bytes | None = None) -> None:
        self._pictures, self._profile = (before, after), profile

    @property
    def ssim(self) -> float | None:
        before, after = self._pictures
        if before is None or after is None or before.size != after.size:
            return None
        return ssim(np.asarray(before), np.asarray(after))

    def encoded(self) -> tuple[bytes | None, bytes | None]:
        """The thumbnails as JPEG files."""
        before, after = (None if one is None else self._encoded(one) for one in self._pictures)
        return before, after

    def _encoded(self, picture: Picture) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY, comment=COMMENT, icc_profile=self._profile)
        return file.getvalue()


def thumbnail(
    pixels: npt.NDArray[np.integer[Any]],  # [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], 0..255
    *,
    to_srgb: Convert | None = None,
    background: tuple[int, int, int] | None = None,
) -> Picture:  # of mode RGB
    """The picture with at most `EDGE` pixels a side, each the mean of those below it; what is transparent, laid on."""
    pixels = pixels.astype(np.uint8, copy=False)
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    longest = max(image.size)
    if longest > EDGE:
        width, height = (max(1, round(side * EDGE / longest)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX, reducing_gap=1)
    if to_srgb and image.mode in ("RGB", "RGBA"):
        found = np.array(image)
        found[:, :, :3] = to_srgb(found[:, :, :3].reshape(-1, 3)).reshape(*found.shape[:2], 3)
        image = Image.fromarray(found)
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, background or WHITE), image).convert("RGB")
