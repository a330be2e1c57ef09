"""ColorHistogram: every distinct color of one or many images, with its exact count."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_chunk_size
from gpuquant.colors.codes import ascending, codes_from_colors, colors_from_codes, z_order
from gpuquant.devices import memory_error_as_device_error, resolve_device
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.tensors import shared_tensor
from gpuquant.whole_file import whole_file


class ColorHistogram:
    """Distinct 8-bit colors and how many pixels have each.

    Histograms of tiles, photos or machines add up: counting together and merging counts give the same.

    Parameters
    ----------
    device : str or torch.device
        Where the counting happens; pixels are moved there.

    Raises
    ------
    DeviceError
        The device is not there.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> histogram = gpuquant.ColorHistogram()
    >>> histogram.add(np.array([[[255, 0, 0], [0, 0, 255], [255, 0, 0]]], dtype=np.uint8))
    >>> histogram.colors.tolist(), histogram.counts.tolist(), histogram.n_pixels
    ([[255, 0, 0], [0, 0, 255]], [2, 1], 3)
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = resolve_device(device)
        self._codes = torch.empty(0, dtype=torch.int32, device=self._device)
        self._counts = torch.empty(0, dtype=torch.int64, device=self._device)

    @property
    def colors(self) -> Tensor:  # [M, 3] uint8
        """The distinct colors, uint8 [M, 3]; neighbours in the color cube close together (Z-order, Morton 1966)."""
        return colors_from_codes(self._codes)

    @property
    def counts(self) -> Tensor:  # [M] int64
        """How many pixels have each color, int64 [M]."""
        return self._counts

    @property
    def n_pixels(self) -> int:
        """How many pixels were counted."""
        return int(self._counts.sum())

    def __len__(self) -> int:
        return len(self._codes)

    @memory_error_as_device_error()
    def add(self, pixels: Tensor | np.ndarray, *, chunk_size: int | None = None) -> None:
        """Count more pixels: uint8 [..., 3] in RGB order, or grey [H, W] or [N].

        Parameters
        ----------
        chunk_size : int, optional
            Pixels worked on together; changes no result.

        Raises
        ------
        ArgumentError
            The pixels are not uint8, or have no such shape.
        DeviceError
            A CUDA device has too little memory.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add(np.array([[0, 7], [7, 7]], np.uint8))
        >>> histogram.colors.tolist(), histogram.counts.tolist()
        ([[0, 0, 0], [7, 7, 7]], [1, 3])
        """
        check_chunk_size(chunk_size)
        if not isinstance(pixels, np.ndarray | Tensor):
            raise ArgumentError(f"pixels must be a uint8 array or tensor, got {type(pixels).__name__}")
        if isinstance(pixels, np.ndarray):
            if pixels.dtype != np.uint8:
                raise ArgumentError(f"pixels must be uint8, got {pixels.dtype}")
            pixels = shared_tensor(pixels)
        if pixels.dtype != torch.uint8:
            raise ArgumentError(f"pixels must be uint8, got {pixels.dtype}")
        if pixels.ndim > 2 and pixels.shape[-1] != 3:
            raise ArgumentError(f"pixels must be [..., 3], or grey [H, W] or [N], got {tuple(pixels.shape)}")
        rows = pixels.reshape(-1, 3) if pixels.ndim > 1 and pixels.shape[-1] == 3 else pixels.reshape(-1)
        if len(rows):
            self.add_rows(rows, chunk_size=chunk_size)

    def add_rows(self, rows: Tensor, *, chunk_size: int | None = None) -> Tensor:
        """Count rows, uint8 [N, 3] or [N] and not empty, without a check, and return them on the histogram's device.

        The `chunk_size` is that of `add`.

        Examples
        --------
        >>> import gpuquant, torch
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add_rows(torch.tensor([[1, 2, 3]], dtype=torch.uint8)).tolist(), len(histogram)
        ([[1, 2, 3]], 1)
        """
        rows = rows.contiguous()
        if rows.is_cpu and self._device.type == "cuda":
            rows, codes, counts = ops.upload_and_count(rows, self._device)
        else:
            rows = rows.to(self._device)
            codes, counts = ops.count_colors(rows, chunk_size=chunk_size)
        self._insert(codes, counts)
        return rows

    def merge(self, other: "ColorHistogram") -> None:
        """Add the counts of the other histogram, from whatever device, to this one.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> one, other = gpuquant.ColorHistogram(), gpuquant.ColorHistogram()
        >>> one.add(np.array([0, 9], np.uint8))
        >>> other.add(np.array([9], np.uint8))
        >>> one.merge(other)
        >>> one.counts.tolist(), other.counts.tolist()
        ([1, 2], [1])
        """
        self._insert(other._codes.to(self._device), other._counts.to(self._device))

    def __add__(self, other: "ColorHistogram") -> "ColorHistogram":
        total = ColorHistogram(self._device)
        total.merge(self)
        total.merge(other)
        return total

    def points(self) -> tuple[Tensor, Tensor]:  # [M, 3] uint8, [M] float64
        """The colors as points, uint8 [M, 3], and the counts as weights, float64 [M], as `kmeans` takes them.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add(np.array([0, 0, 0, 8], np.uint8))
        >>> points, weights = histogram.points()
        >>> gpuquant.kmeans(points, 1, weights=weights).centers.tolist()
        [[2.0, 2.0, 2.0]]
        """
        return self.colors, self._counts.to(torch.float64)

    def save(self, path: str | Path) -> None:
        """Write colors and counts to a NumPy .npz file at exactly this path.

        Raises
        ------
        ImageFileError
            The file cannot be written; no half-written file is left.

        Examples
        --------
        >>> import gpuquant, numpy as np, tempfile
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add(np.array([5, 5], np.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     histogram.save(f"{folder}/counts.npz")
        ...     with np.load(f"{folder}/counts.npz") as file:
        ...         print(file["colors"].tolist(), file["counts"].tolist())
        [[5, 5, 5]] [2]
        """
        with whole_file(path) as file:
            np.savez_compressed(file, colors=self.colors.cpu().numpy(), counts=self._counts.cpu().numpy())

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> "ColorHistogram":
        """Read what `save` wrote to the path, onto the device.

        Raises
        ------
        ImageFileError
            The file is not there or does not hold a histogram.
        DeviceError
            The device is not there.

        Examples
        --------
        >>> import gpuquant, numpy as np, tempfile
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add(np.array([5, 5], np.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     histogram.save(f"{folder}/counts.npz")
        ...     gpuquant.ColorHistogram.load(f"{folder}/counts.npz").n_pixels
        2
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                colors, counts = torch.from_numpy(file["colors"]), torch.from_numpy(file["counts"])
            valid = colors.dtype == torch.uint8 and counts.dtype == torch.int64 and colors.shape == (len(counts), 3)
        except Exception as error:  # zip, NumPy and the operating system each raise their own
            raise ImageFileError(f"{path} cannot be read as a histogram: {error}") from None
        if not valid or bool((counts <= 0).any()):
            raise ImageFileError(f"{path} does not hold a histogram: colors uint8 [M, 3] and positive counts int64 [M]")
        histogram = cls(device)
        histogram._insert(codes_from_colors(colors).to(histogram._device), counts.to(histogram._device))
        return histogram

    def _insert(self, codes: Tensor, counts: Tensor) -> None:
        if len(self._codes) or (len(codes) and not bool((codes[1:] > codes[:-1]).all())):
            codes, counts = ops.add_counts([(self._codes, self._counts), (codes, counts)])
        order = ascending(z_order(colors_from_codes(codes)))
        self._codes, self._counts = codes[order], counts[order]
