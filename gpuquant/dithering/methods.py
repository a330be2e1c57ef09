"""Dithering: mixing entries in such a way that neighboring pixels average to the colors of the photo."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_name, is_real
from gpuquant.colors.alpha import OPAQUE, with_alpha
from gpuquant.colors.error import squared_error
from gpuquant.counting.counted_photo import CountedPhoto
from gpuquant.dithering.mixtures import GrainCosts, as_thresholds, mix_colors, mixtures_of_one
from gpuquant.dithering.registry import METHODS
from gpuquant.errors import ArgumentError
from gpuquant.threads import share_out, worker_threads

CLOSE = 32  # levels between neighbors of a palette in which k-means could have found it: 51 in the web's 216 colors
OWN = GrainCosts((0.12,))  # of the photo's own palette
CLOSE_ENTRIES = GrainCosts((0.005, 0.12))  # of a given palette whose entries lie close together
FEW_ENTRIES = GrainCosts((0.0005, 0.01), most_moved=1.5)  # of others
MOST_LINKED = 4096  # entries whose gaps are looked for, in 0.3 s at most: those of more are small
MOST_MIXED = 4096  # entries of which a mask chooses: of 16,000 it would take a minute where they lie almost in a plane
STRIP_PIXELS = 1 << 24  # that are diffused at a time: their colors take 4 bytes a pixel, where they are not the photo's
ORDERED_PIXELS = {"cpu": 1 << 18, "cuda": 1 << 24}  # whose colors stay in the cache; that take few launches


@dataclass(frozen=True)
class Dither:
    """A method other than "none", and how much of it."""

    method: str
    strength: float  # above 0 to 1
    fitted: bool  # whether the palette is that of the photo, or of several and this among them


class Tally:
    """Counts and error of the pixels that were dithered so far."""

    def __init__(self, n_entries: int, device: torch.device) -> None:
        self.counts = torch.zeros(n_entries, dtype=torch.int64, device=device)  # of pixels of each entry
        self.error = 0.0  # the sum over pixels of the squared distance to the palette entry

    def add(self, parts: list[tuple[Tensor, int]]) -> None:
        """Add the tallies of parts of a photo."""
        for counts, error in parts:
            self.counts += counts
            self.error += error


def check_dither(dither: str, dither_strength: float, *, fitted: bool) -> Dither | None:
    """Raise unless the arguments can be used; None where nothing is dithered."""
    check_name("dither", dither, METHODS)
    if not is_real(dither_strength) or not (math.isfinite(dither_strength) and 0 <= dither_strength <= 1):
        raise ArgumentError(f"dither_strength={dither_strength!r} must be a number from 0 to 1")
    return None if dither == "none" or dither_strength == 0 else Dither(dither, float(dither_strength), fitted)


def dither_strips(
    photo: CountedPhoto,
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    labels: Tensor,  # [M] int32: the nearest entry of each color
    dither: Dither,
    tally: Tally,  # is added to
) -> Iterator[Tensor]:  # [h, W] uint8, or uint16 above 256 entries: the labels of each strip
    """Dither the opaque pixels of a photo, among the opaque entries, as the colors look.

    Pixels that are not opaque, or whose nearest entry is not, keep their entry: a clear or partly transparent one says
    nothing of what is behind it.
    """
    colors, still, palette = photo.colors, None, palette.to(photo.device, non_blocking=True)
    if photo.has_alpha or palette.shape[1] == 4:
        colors, palette = with_alpha(colors), with_alpha(palette)
        still = (colors[:, 3] < OPAQUE) | (palette[labels.long(), 3] < OPAQUE)
        tally.error += squared_error(colors[still], palette, labels[still], photo.counts[still])
    dithered = _ordered if METHODS[dither.method].mask else _diffused
    return dithered(photo, colors, palette, labels, still, dither, tally)


def _ordered(
    photo: CountedPhoto,
    colors: Tensor,
    palette: Tensor,
    labels: Tensor,
    still: Tensor | None,
    dither: Dither,
    tally: Tally,
) -> Iterator[Tensor]:
    """Choose among the entries that mix to each color, by a mask."""
    mask = _thresholds(dither.method).to(palette.device)
    opaque, levels = _opaque_entries(palette), palette[:, :3].contiguous()
    if len(opaque) > MOST_MIXED:
        way_out = 'use dither="floyd-steinberg", or a smaller palette'
        raise ArgumentError(
            f'dither="{dither.method}" mixes from at most {MOST_MIXED} entries, not {len(opaque)}; {way_out}'
        )
    costs = OWN if dither.fitted else CLOSE_ENTRIES if _is_close(levels[opaque]) else FEW_ENTRIES
    moving = (colors if still is None else colors[~still])[:, :3]
    mixed = mix_colors(moving, levels, opaque, dither.strength, costs)
    numbers, forms = mixed.numbers, mixed.forms
    if still is not None:
        numbers = torch.empty(len(colors), dtype=torch.int32, device=colors.device)
        numbers[~still], numbers[still] = mixed.numbers, labels[still] + len(forms)
        # whose errors are added up by R, G and B: they are taken off here, and those with alpha added elsewhere
        forms = torch.cat([forms, mixtures_of_one(torch.arange(len(palette), device=palette.device))])
        tally.error -= squared_error(colors[still, :3], levels, labels[still], photo.counts[still])
    numbers = numbers.to(torch.uint8 if len(forms) <= 256 else torch.uint16 if len(forms) <= 1 << 16 else torch.int32)
    n_rows, top = max(1, ORDERED_PIXELS[palette.device.type] // photo.shape[1]), 0
    with _looks(photo, colors, numbers) as look:

        def dithered(strip: Tensor, top: int) -> Tensor:
            found = torch.empty(strip.shape[:2], dtype=_words(palette), device=palette.device)
            parts: list[tuple[Tensor, int]] = []

            def choose(start: int) -> None:
                place = slice(start, start + n_rows)
                rows, which = look(strip[place])
                assert which is not None
                parts.append(ops.choose_entries(top + start, rows, which, forms, levels, mask, found[place]))

            share_out(range(0, len(strip), n_rows), choose, worker_threads() if palette.is_cpu else 1)
            tally.add(parts)
            return found

        for strip in photo.strips():
            yield dithered(strip, top)
            top += len(strip)


@cache
def _thresholds(method: str) -> Tensor:  # [A, B] int64
    return as_thresholds(resolve_name(METHODS[method].mask)())


def _diffused(
    photo: CountedPhoto,
    colors: Tensor,
    palette: Tensor,
    labels: Tensor,
    still: Tensor | None,
    dither: Dither,
    tally: Tally,
) -> Iterator[Tensor]:
    entries = _opaque_entries(palette)
    if not len(entries):
        entries = torch.arange(len(palette), device=palette.device)  # which no pixel takes
    levels = palette[:, :3].contiguous()
    limit = error_limit(levels[entries], close=dither.fitted or _is_close(levels[entries]))
    strength = round(dither.strength * ops.FULL_STRENGTH)
    falling = torch.zeros(photo.shape[1], 3, dtype=torch.int16, device=palette.device)
    kept = None if still is None else torch.where(still, labels, -1)
    n_rows = max(1, STRIP_PIXELS // photo.shape[1])
    with _looks(photo, colors, kept) as look:
        for strip in photo.strips():
            found = torch.empty(strip.shape[:2], dtype=_words(palette), device=palette.device)
            for start in range(0, len(strip), n_rows):
                rows = slice(start, start + n_rows)
                given = *look(strip[rows]), levels, entries, falling, limit, strength
                tally.add([ops.diffuse_errors(*given, found[rows])])
            yield found


@contextmanager
def _looks(
    photo: CountedPhoto,
    colors: Tensor,
    values: Tensor | None,  # [M]
) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor | None]]]:
    """A function that tells how rows of a strip look, uint8 [rows, W, 1 to 4], and their colors' values."""
    if not photo.looks_as_stored:
        seen, every = with_alpha(colors).contiguous().view(torch.int32).view(-1), torch.arange(len(colors))
        with photo.lookup(every.to(photo.device, torch.int32), torch.int32) as ranks_of:

            def look_by_rank(rows: Tensor) -> tuple[Tensor, Tensor | None]:
                ranks = ranks_of(rows)
                taken = [ops.take(part, ranks.view(-1)).view_as(ranks) for part in (seen, values) if part is not None]
                return taken[0][:, :, None].view(torch.uint8), taken[1] if values is not None else None

            yield look_by_rank
    elif values is None:
        yield lambda rows: (rows.contiguous(), None)
    else:
        with photo.lookup(values, values.dtype) as values_of:
            yield lambda rows: (rows.contiguous(), values_of(rows))


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
    """Tell whether entries lie close together, as those of k-means do: the median distance to the nearest other one.

    Were half of more than MOST_LINKED entries CLOSE or farther from all others, balls of half that distance around them
    would lie beside each other in and around the color cube, where there is room for 1,378 at most.
    """
    rows = np.unique(palette.cpu().numpy().astype(np.int32), axis=0)
    if len(rows) > MOST_LINKED:
        return True
    nearest = [np.partition(np.square(rows - row).sum(axis=1), 1)[1] for row in rows if len(rows) > 1]
    return len(rows) > 1 and float(np.median(np.sqrt(nearest))) < CLOSE


def _opaque_entries(
    palette: Tensor,  # [K, 3] or [K, 4] uint8
) -> Tensor:  # [E] int64
    if palette.shape[1] == 3:
        return torch.arange(len(palette), device=palette.device)
    return (palette[:, 3] == OPAQUE).nonzero().view(-1)


def _words(palette: Tensor) -> torch.dtype:
    return torch.uint16 if len(palette) > 256 else torch.uint8
