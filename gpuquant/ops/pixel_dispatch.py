"""Operations pixel by pixel or color by color: the contract of each operation, and which implementation runs.

| operation | CPU | CUDA |
| --- | --- | --- |
| `count_colors`, `lookup_table`, `apply_lookup`, keys and colors | `pixels/cpu`: Numba | `pixels/cuda` |
| `count_alpha`, `alpha_keys`, `alpha_lookup` | `pixels/cpu_alpha`: Numba | `pixels/reference` |
| `add_counts`, `take`, `column_means` | `pixels/cpu`: Numba | `pixels/reference` |
| error diffusion | `dithering/cpu_diffusion`: Numba | the same, on the CPU |
| regions of mixtures | `dithering/cpu_regions`: Numba | `dithering/reference` |
| choosing among entries | `dithering/cpu`: Numba | `dithering/cuda` |
| other numbers for labels | `dithering/cpu`: Numba | `dithering/reference` |

Where there is no Triton, plain torch does the work on CUDA devices too; where there is no Numba, on the CPU.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gpuquant.ops import compiled, kernel_choice
from gpuquant.ops.dithering import reference as dithering_reference
from gpuquant.ops.pixels import reference as pixels_reference
from gpuquant.ops.pixels.transfers import download, upload


def _pixels_module(pixels: Tensor) -> ModuleType:
    return kernel_choice.kernels_for(pixels) or _loops_or_torch(pixels)


def _loops_or_torch(values: Tensor) -> ModuleType:
    if not compiled.runs_for(values):
        return pixels_reference
    from gpuquant.ops.pixels import cpu as pixels_cpu

    return pixels_cpu


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    pixels = pixels.contiguous()
    found: tuple[Tensor, Tensor] = _pixels_module(pixels).count_colors(pixels)
    return found


def upload_and_count(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous, on the CPU
    device: torch.device,  # a CUDA device
) -> tuple[Tensor, Tensor, Tensor]:  # the pixels there; Z-order keys [M] int32, ascending; counts [M] int64
    """Count the colors of pixels while they are on their way to a device."""
    kernels = kernel_choice.kernels_for(torch.empty(0, device=device))
    if not kernels:
        there = pixels.to(device)
        return there, *pixels_reference.count_colors(there)
    counting = kernels.KernelCounting(device)
    there = upload(pixels, device, counting.add)
    return there, *counting.counted()


def add_counts(
    parts: Sequence[tuple[Tensor, Tensor]],  # one at least: keys [M] int32 or int64, ascending; counts [M] int64
) -> tuple[Tensor, Tensor]:  # keys [M], ascending; counts [M] int64
    """Add up several counts of colors."""
    found: tuple[Tensor, Tensor] = _loops_or_torch(parts[0][0]).add_counts(parts)
    return found


def count_alpha(
    pixels: Tensor,  # [N, 4] uint8, contiguous
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:  # keys [M] int64 with counts [M]; of what is opaque, int32
    """Count every distinct color exactly, those that are not opaque by their keys with alpha, ascending.

    Such a key is the place of R, G and B in Z-order above alpha; that of all clear pixels is 0.
    """
    found: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] = _alpha_module(pixels).count_alpha(pixels)
    return found


def alpha_keys(
    colors: Tensor,  # [M, 4] uint8, none of them opaque
) -> Tensor:  # [M] int64
    """The keys of colors, as `count_alpha` has them."""
    found: Tensor = _alpha_module(colors).alpha_keys(colors)
    return found


def alpha_lookup(
    keys: Tensor,  # [M] int64, ascending: of colors that are not opaque
    values: Tensor,  # [M] uint8, uint16 or int32
    table: Tensor,  # [2^24] of the same dtype, of opaque colors: that of `lookup_table`
) -> Callable[[Tensor], Tensor]:  # pixels [N, 4] uint8, all of these colors -> [N] of the values' dtype
    """A function that looks up pixels with alpha."""
    if not compiled.runs_for(keys):
        return pixels_reference.alpha_lookup(keys, values, table, _pixels_module(keys).apply_lookup)
    from gpuquant.ops.pixels import cpu_alpha

    return cpu_alpha.alpha_lookup(keys, values, table)


def _alpha_module(values: Tensor) -> ModuleType:
    if not compiled.runs_for(values):
        return pixels_reference
    from gpuquant.ops.pixels import cpu_alpha

    return cpu_alpha


def colors_from_keys(
    keys: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The colors of Z-order keys."""
    found: Tensor = _pixels_module(keys).colors_from_keys(keys)
    return found


def keys_from_colors(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count
) -> Tensor:  # [M] int32
    """The Z-order keys of colors."""
    found: Tensor = _pixels_module(colors).keys_from_colors(colors)
    return found


def lookup_table(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count: distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> AbstractContextManager[Tensor]:  # [2^24] of the values' dtype
    """A table of the values of colors, for `apply_lookup` while the context is open."""
    found: AbstractContextManager[Tensor] = _pixels_module(colors).lookup_table(colors, values)
    return found


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous, all of colors that are in the table
    table: Tensor,  # of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    pixels = pixels.contiguous()
    found: Tensor = _pixels_module(pixels).apply_lookup(pixels, table)
    return found


def take(
    values: Tensor,  # [M]
    ranks: Tensor,  # [N] int32
    out: Tensor | None = None,  # [N] of the values' dtype; may be the ranks themselves
) -> Tensor:  # [N]
    """The value of each rank."""
    found: Tensor = _loops_or_torch(values).take(values, ranks, out)
    return found


def column_means(samples: Tensor) -> Tensor:  # [N, D] float32, float64 or uint8 -> [D], float64 for uint8
    """The means of the columns of samples on the CPU, rounded as `numpy.mean` over the first axis rounds them."""
    found: Tensor = _loops_or_torch(samples).column_means(samples)
    return found


def diffuse_errors(
    rows: Tensor,  # [H, W, 1] (gray), [H, W, 3] or [H, W, 4] uint8; a fourth column is left out
    kept: Tensor | None,  # [H, W] int32: the entry of a pixel that neither takes nor gives errors; -1: it does
    palette: Tensor,  # [K, 3] uint8
    allowed: Tensor,  # [E] int64, ascending: the entries that others may take, one at least
    falling: Tensor,  # [W, 3] int16: 16 times what comes from above; changed to what goes below
    limit: int,  # 0..255: an error beyond it is cut, channel by channel
    strength: int,  # 0..FULL_STRENGTH
    labels: Tensor,  # [H, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences of those not kept
    """Floyd-Steinberg error diffusion.

    Pixels on a CUDA device go to the CPU for it, and their labels come back: 0.1 s for 17 megapixels. A pixel waits for
    its left neighbor and the three above it, so that a device works on one diagonal after the other, 20 launches each:
    1.1 s. Only without Numba it does.
    """
    given = rows, kept, palette, allowed, falling, limit, strength, labels
    if rows.is_cuda and compiled.has_numba():
        return _diffuse_errors_here(*given)
    module: Any = dithering_reference
    if compiled.runs_for(rows):
        from gpuquant.ops.dithering import cpu_diffusion as module
    found: tuple[Tensor, int] = module.diffuse_errors(*given)
    return found


def _diffuse_errors_here(
    rows: Tensor,
    kept: Tensor | None,
    palette: Tensor,
    allowed: Tensor,
    falling: Tensor,
    limit: int,
    strength: int,
    labels: Tensor,
) -> tuple[Tensor, int]:
    """Diffuse errors on the CPU between tensors of a device."""
    from gpuquant.ops.dithering import cpu_diffusion

    pixels, stands = download(rows.contiguous()), None if kept is None else download(kept.contiguous())
    below, found = falling.cpu(), torch.empty(labels.shape, dtype=labels.dtype)
    entries = palette.cpu(), allowed.cpu()
    counts, error = cpu_diffusion.diffuse_errors(pixels, stands, *entries, below, limit, strength, found)
    falling.copy_(below)
    labels.copy_(found)
    return counts.to(labels.device), error


def walk_to_regions(
    colors: Tensor,  # [C, 3] uint8; neighbors are best close together
    walls: Tensor,  # [R, 4, 4] float64: wall i of a region is walls[:, i, :3] . c + walls[:, i, 3] above a color inside
    behind: Tensor,  # [R, 4] int64: the region of fewer entries on the other side, or -1: there is no such wall
    first_front: Tensor,  # [R + 1] int64
    fronts: Tensor,  # int64, for each region, from its first on: 4 r + i of the walls that have it on their other side
) -> Tensor:  # [C] int32
    """Find the region of each color, that of the fewest entries where the color lies in a wall."""
    module: Any = dithering_reference
    if compiled.runs_for(colors):
        from gpuquant.ops.dithering import cpu_regions as module
    found: Tensor = module.walk_to_regions(colors, walls, behind, first_front, fronts)
    return found


def choose_entries(
    top: int,  # the place of the first row in the image
    rows: Tensor,  # [rows, W, 1] (gray), [rows, W, 3] or [rows, W, 4] uint8; a fourth column is left out
    numbers: Tensor,  # [rows, W] uint8, uint16 or int32: of the mixtures of pixels
    mixtures: Tensor,  # [Q, 5] int64
    palette: Tensor,  # [K, 3] uint8
    mask: Tensor,  # [A, B] int64: three equal fields, with their highest bits; laid side by side from the top left
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences
    """Give each pixel the first of its mixture's entries whose limit is above the mask, or the last one.

    A mixture is five integers. The first four, times red, green, blue and 1, add up to the limits of the first three
    entries: three fields of FIELD_BITS, the first one lowest, whose highest bits are 0. The last one is the four
    entries, 16 bits each.
    """
    module: Any = _dither_module(rows)
    if kernel_choice.kernels_for(rows):
        from gpuquant.ops.dithering import cuda as module
    tally: tuple[Tensor, int] = module.choose_entries(top, rows, numbers, mixtures, palette, mask, labels)
    return tally


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    _dither_module(labels).renumber(labels, numbers)


def _dither_module(pixels: Tensor) -> ModuleType:
    if not compiled.runs_for(pixels):
        return dithering_reference
    from gpuquant.ops.dithering import cpu as dithering_cpu

    return dithering_cpu
