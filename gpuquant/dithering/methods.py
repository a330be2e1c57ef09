"""Dithering: mixing entries in such a way that neighboring pixels average to the colors of the photo."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_name, is_real
from gpuquant.colors.alpha import OPAQUE, with_alpha
from gpuquant.colors.error import squared_error
from gpuquant.counting.counted_photo import CountedPhoto
from gpuquant.dithering.mixtures import Slack, mix_colors
from gpuquant.dithering.registry import METHODS
from gpuquant.errors import ArgumentError

CLOSE = 32  # levels between neighbors of a palette in which k-means could have found it: 51 in the web's 216 colors
OWN = Slack(math.inf, 0)  # of the photo's own palette
CLOSE_ENTRIES = Slack(1.0, 2.0)  # of a given palette whose entries lie close together
FEW_ENTRIES = Slack(0.2, math.inf)  # of others: more would cost some of what it gains after a blur
MOST_LINKED = 4096  # gaps of more entries are small
STRIP_PIXELS = 1 << 24  # whose colors are held together: 4 bytes a pixel
ORDERED_PIXELS = 1 << 20  # the same, where strips need not be high


@dataclass(frozen=True)
class Dither:
    """A method other than "none", and how much of it."""

    method: str
    strength: float  # above 0 to 1
    fitted: bool  # whether the palette is that of the photo, or of several and this among them


@dataclass(frozen=True, eq=False)
class DitheredPhoto:
    """The label of every pixel, and what is to be said of them."""

    labels: Tensor  # [H, W] uint8, or uint16 where wide
    counts: Tensor  # [K] int64
    error: float  # the sum over pixels of the squared distance to the palette entry


def check_dither(dither: str, dither_strength: float, *, fitted: bool) -> Dither | None:
    """Raise unless the arguments can be used; None where nothing is dithered."""
    check_name("dither", dither, METHODS)
    if not is_real(dither_strength) or not (math.isfinite(dither_strength) and 0 <= dither_strength <= 1):
        raise ArgumentError(f"dither_strength={dither_strength!r} must be a number from 0 to 1")
    return None if dither == "none" or dither_strength == 0 else Dither(dither, float(dither_strength), fitted)


def dither_photo(
    photo: CountedPhoto,
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    labels: Tensor,  # [M] int32: the nearest entry of each color
    dither: Dither,
) -> DitheredPhoto:
    """Dither the opaque pixels of a photo, among the opaque entries, as the colors look.

    Pixels that are not opaque, or whose nearest entry is not, keep their entry: a clear or partly transparent one says
    nothing of what is behind it.
    """
    colors, still = photo.colors, None
    if photo.has_alpha or palette.shape[1] == 4:
        colors, palette = with_alpha(colors), with_alpha(palette)
        still = (colors[:, 3] < OPAQUE) | (palette[labels.long(), 3] < OPAQUE)
    choose = _ordered if METHODS[dither.method].mask else _diffused
    return choose(photo, colors, palette, labels, still, dither)


def _ordered(
    photo: CountedPhoto, colors: Tensor, palette: Tensor, labels: Tensor, still: Tensor | None, dither: Dither
) -> DitheredPhoto:
    """Choose among the entries that mix to each color, by a mask."""
    mask = torch.from_numpy(resolve_name(METHODS[dither.method].mask)()).to(palette.device)
    entries, limits = _mixed(colors, palette, labels, still, dither, mask.numel())
    entries = entries.to(_words(palette))  # as few bytes as labels have

    def choose(top: int, ranks: Tensor, strip: Tensor) -> None:
        ops.choose_entries(top, ranks, entries, limits, mask, strip)

    return _in_strips(photo, colors, palette, labels, still, ORDERED_PIXELS, choose)


def _mixed(
    colors: Tensor, palette: Tensor, labels: Tensor, still: Tensor | None, dither: Dither, n_levels: int
) -> tuple[Tensor, Tensor]:  # [M, 4] int32, [M, 3] int16
    opaque = _opaque_entries(palette)
    slack = OWN if dither.fitted else CLOSE_ENTRIES if _is_close(palette[opaque, :3]) else FEW_ENTRIES
    if still is None:
        return mix_colors(colors[:, :3], palette[:, :3], dither.strength, n_levels, slack)
    entries, limits = labels[:, None].repeat(1, 4), labels.new_zeros(len(labels), 3, dtype=torch.int16)
    if len(opaque):
        mixed, limits[~still] = mix_colors(colors[~still, :3], palette[opaque, :3], dither.strength, n_levels, slack)
        entries[~still] = opaque[mixed.long()].to(torch.int32)
    return entries, limits


def _diffused(
    photo: CountedPhoto, colors: Tensor, palette: Tensor, labels: Tensor, still: Tensor | None, dither: Dither
) -> DitheredPhoto:
    entries = _opaque_entries(palette)
    if not len(entries):
        entries = torch.arange(len(palette), device=palette.device)  # which no pixel takes
    nearest = ops.NearestTable(palette[entries, :3].contiguous())
    seen = colors[:, :3].contiguous()
    above = torch.zeros(photo.shape[1], 4, dtype=torch.int16, device=palette.device)
    limit = error_limit(palette[entries, :3], close=dither.fitted or _is_close(palette[entries, :3]))
    strength = round(dither.strength * ops.FULL_STRENGTH)

    def diffuse(_: int, ranks: Tensor, strip: Tensor) -> None:
        nonlocal above
        part, above = ops.diffuse_errors(ranks, seen, still, nearest, above, limit, strength)
        if still is not None:
            part = torch.where(still[ranks], labels[ranks], entries[part.to(torch.int32)].to(torch.int32))
        strip.copy_(part)

    return _in_strips(photo, colors, palette, labels, still, STRIP_PIXELS, diffuse)


def _in_strips(
    photo: CountedPhoto,
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    labels: Tensor,  # [M] int32
    still: Tensor | None,  # [M] bool
    n_pixels: int,  # of a strip
    dither: Callable[
        [int, Tensor, Tensor], None
    ],  # a strip's first row; [rows, W] int32: its colors; its labels, written
) -> DitheredPhoto:
    """Dither some rows at a time, and sum up what comes of it."""
    seen, levels = colors[:, :3].contiguous(), palette[:, :3].contiguous()
    found = torch.empty(photo.shape, dtype=_words(palette), device=palette.device)
    counts = torch.zeros(len(palette), dtype=torch.int64, device=palette.device)
    error = 0.0
    for top, ranks in photo.strips(n_pixels):
        strip = found[top : top + len(ranks)]
        dither(top, ranks, strip)
        n_part, apart = ops.tally_labels(ranks.reshape(-1), strip.reshape(-1), seen, levels)
        counts += n_part
        error += apart
    if still is not None:  # whose distances have a fourth column
        kept, n_still = labels[still], photo.counts[still]
        error += squared_error(colors[still], palette, kept, n_still) - squared_error(
            seen[still], levels, kept, n_still
        )
    return DitheredPhoto(found, counts, error)


def error_limit(
    palette: Tensor,  # [K, 3] uint8
    *,
    close: bool,
) -> int:  # 0..255
    """Half the widest gap between entries that lie close together, rounded up, and else the whole gap.

    A larger error is that of a color which no mixture reaches. k-means palettes lie within the colors of their photo,
    and what cannot be made up for would be dragged along as far as the next edge: on china.jpg and flower.jpg at
    K = 8, 16 and 64 the error after a blur of 1.5 pixels is 0.75 to 0.95 times that without a limit. Where entries are
    far from the colors, as the 7 inks of a display are, half the gap cuts errors that are made up for a little later:
    the error after a blur of 4 pixels is 1.3 to 1.9 times that with the whole gap (three photos).

    The gap is the longest edge of the minimum spanning tree (R. C. Prim 1957).
    """
    rows = np.unique(palette.cpu().numpy().astype(np.int32), axis=0)
    if len(rows) > MOST_LINKED:
        return 255
    widest, apart = 0, np.square(rows - rows[0]).sum(axis=1)
    outside = np.arange(1, len(rows))
    while len(outside):
        place = int(apart[outside].argmin())
        linked = outside[place]
        widest = max(widest, int(apart[linked]))
        outside = np.delete(outside, place)
        np.minimum(apart, np.square(rows - rows[linked]).sum(axis=1), out=apart)
    return min(255, math.ceil(math.sqrt(widest) / (2 if close else 1)))


def _is_close(
    palette: Tensor,  # [K, 3] uint8
) -> bool:
    """Tell whether entries lie close together, as those of k-means do."""
    from scipy.spatial import KDTree  # nothing else needs it, and it takes a tenth of a second to import

    rows = np.unique(palette.cpu().numpy(), axis=0).astype(np.float64)
    return len(rows) > 1 and float(np.median(KDTree(rows).query(rows, k=2)[0][:, 1])) < CLOSE


def _opaque_entries(
    palette: Tensor,  # [K, 3] or [K, 4] uint8
) -> Tensor:  # [E] int64
    if palette.shape[1] == 3:
        return torch.arange(len(palette), device=palette.device)
    return (palette[:, 3] == OPAQUE).nonzero().view(-1)


def _words(palette: Tensor) -> torch.dtype:
    return torch.uint16 if len(palette) > 256 else torch.uint8
