"""ColorHistogram: every distinct color of one or many images, with its exact count."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_chunk_size
from gpuquant.colors.alpha import OPAQUE, with_alpha
from gpuquant.colors.codes import N_CODES
from gpuquant.counting.alpha_counts import colors_from_alpha_keys, distinct_colors
from gpuquant.devices import memory_error_as_device_error, resolve_device
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.tensors import shared_tensor
from gpuquant.whole_file import whole_file

FEW_COLORS = 1 << 19  # are sorted together in a tenth of the time that a table of all colors takes (measured)

MOST_PIXELS = 2**53  # of a histogram in a file: beyond that not even float64 holds their number


class ColorHistogram:
    """Distinct 8-bit colors and how many pixels have each.

    Histograms of tiles, photos or machines add up: counting together and merging counts give the same. Threads may
    add to one. While many colors were added and none is looked at, it holds a table of 128 MiB.

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
        self._lock = threading.Lock()
        self._keys = torch.empty(0, dtype=torch.int32, device=self._device)  # of opaque colors, in Z-order
        self._counts = torch.empty(0, dtype=torch.int64, device=self._device)
        self._table: Tensor | None = None  # [2^24] int64, 128 MiB: in place of these, while many are added
        self._others = self._counts, self._counts  # keys with alpha of those that are not opaque, ascending

    def __getstate__(self) -> dict[str, Any]:
        colors, counts = self._total()  # a lock cannot be pickled
        return {"device": self._device, "colors": colors, "counts": counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ColorHistogram.__init__(self, state["device"])
        self.add_counted(state["colors"], state["counts"])

    @property
    def colors(self) -> Tensor:  # [M, 3] uint8, or [M, 4] where one is not opaque
        """The distinct colors, uint8 [M, 3]; neighbors in the color cube close together (Z-order, Morton 1966)."""
        return self._total()[0]

    @property
    @memory_error_as_device_error()
    def counts(self) -> Tensor:  # [M] int64
        """The number of pixels of each color, int64 [M]."""
        with self._lock:
            self._settle()
            others = self._others[1]
            return torch.cat([others, self._counts]) if len(others) else self._counts

    @property
    def n_pixels(self) -> int:
        """The number of pixels that were counted."""
        return int(self.counts.sum())

    def __len__(self) -> int:
        return len(self.counts)

    @memory_error_as_device_error()
    def add(self, pixels: Tensor | np.ndarray, *, chunk_size: int | None = None) -> None:
        """Count more pixels: uint8 [..., 3] in RGB order, or gray [H, W] or [N].

        Parameters
        ----------
        chunk_size : int, optional
            Pixels counted together; changes no result. Bounds what is moved to another device at a time.

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
            raise ArgumentError(f"pixels must be [..., 3], or gray [H, W] or [N], got {tuple(pixels.shape)}")
        rows = pixels.reshape(-1, 3) if pixels.ndim > 1 and pixels.shape[-1] == 3 else pixels.reshape(-1)
        if len(rows):
            for part in rows.split(chunk_size or len(rows)):
                self.add_rows(part)

    def add_rows(self, rows: Tensor) -> Tensor:
        """Count rows without a check, and return them on the histogram's device.

        They are uint8 [N, 3], [N, 4] with alpha, or [N], and not empty.

        Examples
        --------
        >>> import gpuquant, torch
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add_rows(torch.tensor([[1, 2, 3]], dtype=torch.uint8)).tolist(), len(histogram)
        ([[1, 2, 3]], 1)
        """
        rows = rows.contiguous()
        if rows.ndim == 2 and rows.shape[1] == 4:
            rows = rows.to(self._device)
            others, opaque = ops.count_alpha(rows)
            self._insert_others(*others)
            self._insert(*opaque)
        elif rows.is_cpu and self._device.type == "cuda":
            rows, keys, counts = ops.upload_and_count(rows, self._device)
            self._insert(keys, counts)
        else:
            rows = rows.to(self._device)
            self._insert(*ops.count_colors(rows))
        return rows

    def add_counted(self, colors: Tensor, counts: Tensor) -> None:
        """Add distinct colors, uint8 [M, 3] or [M, 4] with alpha, with their counts, int64 [M], without a check.

        The colors of the histogram are [M, 4] from then on if one is not opaque.

        Examples
        --------
        >>> import gpuquant, torch
        >>> histogram = gpuquant.ColorHistogram()
        >>> histogram.add_counted(torch.tensor([[1, 2, 3]], dtype=torch.uint8), torch.tensor([5]))
        >>> histogram.n_pixels
        5
        """
        colors, counts = colors.to(self._device), counts.to(self._device)
        if colors.shape[1] == 4:
            opaque = colors[:, 3] == OPAQUE
            others, order = ops.alpha_keys(colors[~opaque]).sort()
            self._insert_others(others, counts[~opaque][order])
            colors, counts = colors[opaque], counts[opaque]
        keys = ops.keys_from_colors(colors)
        if not bool((keys[1:] > keys[:-1]).all()):
            keys, order = keys.sort()
            counts = counts[order]
        self._insert(keys, counts)

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
        self.add_counted(*other._total())

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
        colors, counts = self._total()
        return colors, counts.to(torch.float64)

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
        colors, counts = self._total()
        with whole_file(path) as file:
            np.savez_compressed(file, colors=colors.cpu().numpy(), counts=counts.cpu().numpy())

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
            shapes = (len(counts), 3), (len(counts), 4)
            valid = colors.dtype == torch.uint8 and counts.dtype == torch.int64 and colors.shape in shapes
        except Exception as error:  # zip, NumPy and the operating system each raise their own
            raise ImageFileError(f"{path} cannot be read as a histogram: {error}") from None
        if not valid or bool((counts <= 0).any()) or float(counts.double().sum()) >= MOST_PIXELS:
            raise ImageFileError(f"{path} does not hold a histogram: colors uint8 [M, 3] and positive counts int64 [M]")
        histogram = cls(device)
        histogram.add_counted(*distinct_colors(colors, counts)[:2])
        return histogram

    def _insert_others(
        self,
        keys: Tensor,  # [M] int64, ascending, with alpha; clear ones may be there more than once
        counts: Tensor,  # [M] int64
    ) -> None:
        with self._lock:
            n_clear = int((keys == 0).sum())
            if n_clear > 1:
                counts = torch.cat([counts[:n_clear].sum()[None], counts[n_clear:]])
                keys = keys[n_clear - 1 :]
            self._others = ops.add_counts([self._others, (keys, counts)]) if len(self._others[0]) else (keys, counts)

    def _insert(
        self,
        keys: Tensor,  # [M] int32, ascending
        counts: Tensor,  # [M] int64
    ) -> None:
        with self._lock:
            n_before = len(self._keys)
            if self._table is None and (n_before == 0 or n_before + len(keys) < FEW_COLORS):
                if n_before:
                    keys, counts = ops.add_counts([(self._keys, self._counts), (keys, counts)])
                self._keys, self._counts = keys, counts
                return
            if self._table is None:
                self._table = counts.new_zeros(N_CODES).index_add_(0, self._keys, self._counts)
            self._table.index_add_(0, keys, counts)

    @memory_error_as_device_error()
    def _total(self) -> tuple[Tensor, Tensor]:  # [M, 3] uint8, or [M, 4] where one is not opaque; [M] int64
        """All colors, those that are not opaque first, and their counts."""
        with self._lock:
            self._settle()
            colors, (others, n_others) = ops.colors_from_keys(self._keys), self._others
            if not len(others):
                return colors, self._counts
            partly = colors_from_alpha_keys(others)
            return torch.cat([partly, with_alpha(colors)]), torch.cat([n_others, self._counts])

    def _settle(self) -> None:
        """List what the table holds, and give it up."""
        if self._table is not None:
            keys = self._table.nonzero().view(-1)
            self._keys, self._counts = keys.to(torch.int32), self._table[keys]
            self._table = None
