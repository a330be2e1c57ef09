"""Distinct colors with alpha: counted, looked up, weighted by their alpha, or laid onto a background.

Nearly all pixels of most pictures are opaque or clear: these go by way of the table of 2^24 colors. Only what is
partly transparent is sorted, chunk by chunk.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import OPAQUE
from gpuquant.colors.codes import codes_from_colors
from gpuquant.counting.lookup import lookup_table_of

CHUNK_PIXELS = 1 << 23


def count_alpha_colors(
    pixels: Tensor,  # [N, 4] uint8
    *,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:  # [M, 4] uint8, distinct; counts [M] int64
    """Count every distinct color exactly; all clear pixels are one, (0, 0, 0, 0)."""
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {"opaque": [], "partly": []}
    n_clear = 0
    for chunk in pixels.split(CHUNK_PIXELS):
        alpha = chunk[:, 3]
        opaque = alpha == OPAQUE
        if bool(opaque.any()):
            parts["opaque"].append(ops.count_colors(chunk[opaque][:, :3].contiguous(), chunk_size=chunk_size))
        partly = (alpha > 0) & ~opaque
        n_clear += int((alpha == 0).sum())
        codes, counts = torch.unique(_codes(chunk[partly]), return_counts=True)
        parts["partly"].append((codes, counts))
    codes, counts = ops.add_counts(parts["partly"])
    found = [(_colors(codes), counts)]
    if parts["opaque"]:
        codes, counts = ops.add_counts(parts["opaque"])
        levels = torch.full((len(codes), 4), OPAQUE, dtype=torch.uint8, device=codes.device)
        levels[:, :3] = _colors(codes)[:, :3]
        found.append((levels, counts))
    if n_clear:
        found.append((pixels.new_zeros(1, 4), counts.new_tensor([n_clear])))
    colors, counts = (torch.cat(columns) for columns in zip(*found, strict=True))
    return colors, counts


def map_alpha_pixels(
    pixels: Tensor,  # [N, 4] uint8, every color of it among `colors`
    colors: Tensor,  # [M, 4] uint8, distinct
    labels: Tensor,  # [M] int32, 0..65535: the label of each color
    *,
    wide: bool,
    chunk_size: int | None = None,
) -> Tensor:  # [N] uint8, or uint16 where wide
    """Give every pixel the label of its color."""
    opaque, clear = colors[:, 3] == OPAQUE, colors[:, 3] == 0
    table = lookup_table_of(colors[opaque][:, :3], labels[opaque], wide=wide)
    words = torch.int16 if wide else torch.uint8  # uint16 has few operations in torch; int16 has the same bits
    codes, order = _codes(colors[~opaque & ~clear]).sort()
    partly_labels = labels[~opaque & ~clear][order].to(words)
    found = torch.zeros(len(pixels), dtype=words, device=pixels.device)
    if bool(clear.any()):
        found.fill_(labels[clear].to(words)[0])
    for chunk, part in zip(pixels.split(CHUNK_PIXELS), found.split(CHUNK_PIXELS), strict=True):
        opaque, partly = chunk[:, 3] == OPAQUE, (chunk[:, 3] > 0) & (chunk[:, 3] < OPAQUE)
        part[opaque] = ops.apply_lookup(chunk[opaque][:, :3].contiguous(), table, chunk_size=chunk_size).view(words)
        if len(codes):
            part[partly] = partly_labels[torch.searchsorted(codes, _codes(chunk[partly]))]
    return found.view(torch.uint16) if wide else found


@contextmanager
def rank_table(
    colors: Tensor,  # [M, 3] or [M, 4] uint8, distinct
    ranks: Tensor,  # [M] int32
) -> Iterator[Callable[[Tensor], Tensor]]:  # pixels [N, 3], [N, 4] or [N] (grey) uint8 -> [N] int32
    """A function that looks up pixels whose colors are among these, as long as the context is open."""
    if colors.shape[1] == 3:
        with ops.number_table(codes_from_colors(colors), ranks) as table:
            yield lambda pixels: ops.apply_lookup(pixels, table)
        return
    opaque, clear = (colors[:, 3] == level for level in (OPAQUE, 0))
    codes, order = _codes(colors[~opaque & ~clear]).sort()
    partly_ranks = ranks[~opaque & ~clear][order]
    clear_rank = ranks[clear][0] if bool(clear.any()) else 0
    with ops.number_table(codes_from_colors(colors[opaque]), ranks[opaque]) as table:

        def look_up(pixels: Tensor) -> Tensor:
            inside, partly = pixels[:, 3] == OPAQUE, (pixels[:, 3] > 0) & (pixels[:, 3] < OPAQUE)
            found = torch.full((len(pixels),), int(clear_rank), dtype=torch.int32, device=pixels.device)
            found[inside] = ops.apply_lookup(pixels[inside][:, :3].contiguous(), table)
            found[partly] = partly_ranks[torch.searchsorted(codes, _codes(pixels[partly]))]
            return found

        yield look_up


def _codes(
    colors: Tensor,  # [M, 4] uint8
) -> Tensor:  # [M] int32
    return colors.contiguous().view(torch.int32).view(-1)


def _colors(
    codes: Tensor,  # [M] int32
) -> Tensor:  # [M, 4] uint8
    return codes.view(-1, 1).view(torch.uint8)
