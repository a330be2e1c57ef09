"""QuantizedImage: a palette and one label per pixel."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from gpuquant.arguments import MAX_PIXELS
from gpuquant.colors.error import psnr
from gpuquant.errors import ArgumentError
from gpuquant.images.loading import ImageLike, load_photo
from gpuquant.images.reading import Photo
from gpuquant.images.sinks import open_sink
from gpuquant.images.targets import ImageTarget
from gpuquant.images.writing import indexed_image
from gpuquant.palettes.palette import Palette, n_colors, shares_of
from gpuquant.quantization.options import options_text
from gpuquant.tensors import as_numpy


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedImage:
    """A photo reduced to a palette and one label per pixel. It keeps no copy of the photo.

    Attributes
    ----------
    palette : Palette
        K colors, the most common first, with alpha where the photo has transparency.
    labels : array or tensor, uint8 [H, W], uint16 above 256 colors
        Index of each pixel's palette entry: the nearest one in the color space, the same for all pixels of a color,
        unless dithered.
    counts : array or tensor, int64 [K]
        How many pixels have each entry; never 0, unless the palette was given or the image dithered.
    mse : float
        Mean over pixels of the sum over R, G, B of squared 8-bit differences between the photo and `to_array()`. With
        transparency the sum is over four columns: R, G and B times alpha / 255, and alpha.
    inertia : float
        Sum over pixels of the squared distance to the k-means center, before centers are rounded to 8 bits. With
        another color space or weighting, or partly transparent colors, it is `mse` times the number of pixels.
    n_iter : int
        Lloyd iterations over all distinct colors (those on coarser cells come before and are not counted); in Oklab
        and with partly transparent colors those of k-means on cells, where it ran on these.
    converged : bool
        Whether k-means stopped by itself within `max_iter` iterations.
    seconds : dict of str to float
        Wall time of each stage: "read", "count", "cluster", "map".
    icc_profile : bytes, optional
        The color profile in which the palette is to be understood, where the photo's own was kept; else it is sRGB.
    options : dict, optional
        The options that it was made with, without paths and names: values of JSON. `save` writes them into the file (a
        PNG's text "gpuquant", a TIFF's description, a GIF's comment), unless they are None.

    Notes
    -----
    The `mse` is that of M. E. Celebi 2011, "Improving the performance of k-means for color quantization".

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> result = gpuquant.quantize(np.array([[10, 10, 10, 14, 200]], np.uint8), 2)
    >>> result.palette.hex, result.labels.tolist(), result.shares.tolist()
    (('#0b0b0b', '#c8c8c8'), [[0, 0, 0, 0, 1]], [0.8, 0.2])
    >>> result.mse, round(result.psnr, 2)
    (7.2, 44.33)
    """

    palette: Palette
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | Tensor
    counts: npt.NDArray[np.int64] | Tensor
    mse: float
    inertia: float
    n_iter: int
    converged: bool
    seconds: dict[str, float]
    icc_profile: bytes | None = None
    options: dict[str, object] | None = None

    @property
    def shares(self) -> npt.NDArray[np.float64] | Tensor:
        """The entries' shares of the pixels, float64 [K], adding up to 1."""
        return shares_of(self.counts)

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, 10 log10(255^2 / (mse / 3)), or / 4 with alpha; infinite without loss."""
        return psnr(self.mse, n_channels=3 if self.palette.alpha is None else 4)

    def to_array(self) -> npt.NDArray[np.uint8]:  # [H, W, 3], or [H, W, 4] with alpha
        """The pixels of the quantized image on the host, uint8 [H, W, 3], or [H, W, 4] with alpha.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> gpuquant.quantize(np.array([[10, 12]], np.uint8), 1).to_array().tolist()
        [[[11, 11, 11], [11, 11, 11]]]
        """
        pixels: npt.NDArray[np.uint8] = self.palette.rows[as_numpy(self.labels)]
        return pixels

    def to_image(self) -> Image.Image:
        """A Pillow image of mode P, or above 256 colors RGB or, with alpha, RGBA.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> image = gpuquant.quantize(np.array([[10, 12, 12, 90, 90]], np.uint8), 2).to_image()
        >>> image.mode, image.size, image.getpalette()
        ('P', (5, 1), [11, 11, 11, 90, 90, 90])
        """
        if len(self.palette) > 256:
            image = Image.fromarray(self.to_array())
        else:
            image = indexed_image(as_numpy(self.labels), self.palette.rows)
        if self.icc_profile:
            image.info["icc_profile"] = self.icc_profile
        return image

    def save(
        self,
        file: ImageTarget,
        *,
        format: str | None = None,  # noqa: A002, the word that Pillow uses
        compression: int | None = None,
    ) -> None:
        """Write the image as PNG, TIFF or GIF, indexed; above 256 colors as RGB, which GIF cannot hold.

        PNG and TIFF are deflated in threads. A TIFF is tiled, a BigTIFF where it has more than 4 GiB, and RGBA with
        transparency. A GIF holds no colors that are partly transparent, and no profile.

        Parameters
        ----------
        file : path, URL or binary file object
            Where to write. An object (anything with `write`) gets bytes when all of them are there; it stays open. More
            than 64 MB of them wait in a temporary file, in the folder that the system (TMPDIR) has for these.
        format : "png", "tif" or "gif", optional
            What to write, in upper or lower case: needed for an object, and taken in place of a path's ending.
        compression : int, optional
            zlib's level for a PNG or TIFF, 0 (fast) to 9 (small). The default is a tenth larger than 9 at most, in a
            tenth of the time.

        Raises
        ------
        ArgumentError
            The format is unknown or not given, it cannot hold the colors, the size or the profile, there is no such
            level, the file object takes text, or the options are no values of JSON.
        ImageFileError
            The file cannot be written; no half-written file is left.

        Examples
        --------
        >>> import gpuquant, numpy as np, tempfile
        >>> result = gpuquant.quantize(np.array([[0, 255]], np.uint8), 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(f"{folder}/two.png", compression=9)
        ...     gpuquant.read_palette(f"{folder}/two.png").hex
        ('#000000', '#ffffff')
        >>> import io
        >>> file = io.BytesIO()
        >>> result.save(file, format="gif")
        >>> file.getvalue()[:6]
        b'GIF89a'
        """
        height, width = self.labels.shape
        note = None if self.options is None else options_text(self.options)
        sink = open_sink(
            file,
            (width, height),
            self.palette.rows,
            image_format=format,
            profile=self.icc_profile,
            note=note,
            compression=compression,
        )
        with sink as write:
            write(as_numpy(self.labels))

    def side_by_side(self, original: ImageLike, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The original and the result next to each other, with the palette and its shares below, to fit a screen.

        Of an original that is a file `max_pixels` is the limit, as for `quantize`.

        Raises
        ------
        ArgumentError
            The original has another size, or is not an image.
        ImageFileError
            The file of the original cannot be read.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> photo = np.zeros((60, 100), np.uint8)
        >>> picture = gpuquant.quantize(photo, 1).side_by_side(photo)
        >>> picture.mode, picture.size
        ('RGB', (202, 70))
        """
        from gpuquant.images.comparison import side_by_side

        pixels = self._seen(original, max_pixels)
        picture = side_by_side(pixels, self.to_array(), self.palette.rows, as_numpy(self.shares))
        if self.icc_profile:
            picture.info["icc_profile"] = self.icc_profile
        return picture

    def error_map(self, original: ImageLike, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """Draw where the error is: a gray picture, in which a pixel is the lighter the farther it is from the original.

        White is the longest distance but for one pixel in a thousand; large photos are scaled to fit a screen. Of an
        original that is a file `max_pixels` is the limit, as for `quantize`.

        Raises
        ------
        ArgumentError
            The original has another size, or is not an image.
        ImageFileError
            The file of the original cannot be read.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> photo = np.array([[0, 0, 8, 8, 90]], np.uint8)
        >>> np.asarray(gpuquant.quantize(photo, 2).error_map(photo)).tolist()
        [[255, 255, 255, 255, 0]]
        """
        from gpuquant.images.comparison import error_map

        return error_map(self._seen(original, max_pixels), self.to_array())

    def _seen(self, original: ImageLike, max_pixels: int) -> npt.NDArray[np.uint8]:  # [H, W, 3], [H, W, 4] or [H, W]
        """The pixels of the original in the colors of the result."""
        photo = load_photo(original, max_pixels, preview=True)  # or there were no result
        stored = photo.pixels if isinstance(photo, Photo) else as_numpy(photo)
        pixels = photo.in_srgb() if isinstance(photo, Photo) and not self.icc_profile else stored
        if pixels.shape[:2] != tuple(self.labels.shape):
            raise ArgumentError(f"original is {pixels.shape[:2]}, the result is {tuple(self.labels.shape)}")
        return pixels

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("the pixels of a result are looked up: there is no array without a copy; use np.asarray")
        return np.asarray(self.to_array(), dtype)

    def __repr__(self) -> str:
        size = " x ".join(map(str, reversed(self.labels.shape)))
        error = "lossless" if self.mse == 0 else f"MSE {self.mse:.2f}, PSNR {self.psnr:.2f} dB"
        return f"QuantizedImage({size}, {n_colors(len(self.palette))}, {error})"

    def _repr_png_(self) -> bytes:
        picture = self.to_image().convert("RGB" if self.palette.alpha is None else "RGBA")
        picture.thumbnail((1024, 1024))
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()
