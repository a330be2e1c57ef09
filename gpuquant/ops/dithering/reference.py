"""Dithering in plain torch, on any device: the reference for `cpu_diffusion`, `cpu_regions` and `cpu`."""

import torch
from torch import Tensor

from gpuquant.tensors import uint16_as_int16

STRENGTH_BITS = 7
FULL_STRENGTH = 1 << STRENGTH_BITS
FIELD_BITS = 21  # three of them are in an int64
AT_ONCE = 1 << 24  # numbers: a few launches for a photo, and 64 MiB
WALLS_AT_ONCE = 1 << 20  # of which there are some ten numbers of eight bytes
TOLERANCE = 1e-6  # levels: colors in a wall are that near to it, as numbers round
MOST_STEPS = 10_000  # from region to region: with 65,536 entries some hundreds are usual for the first color
EVERY = 8  # colors one is looked for first, and the others from there on: some steps away, in Z-order


def diffuse_errors(
    rows: Tensor,  # [H, W, 1] (gray), [H, W, 3] or [H, W, 4] uint8; a fourth column is left out
    kept: Tensor | None,  # [H, W] int32: the entry of a pixel that neither takes nor gives errors; -1: it does
    palette: Tensor,  # [K, 3] uint8
    allowed: Tensor,  # [E] int64, ascending: the entries that others may take, one at least
    falling: Tensor,  # [W, 3] int16: 16 times what comes from above; changed to what goes below
    limit: int,  # 0..255: an error beyond it is cut, channel by channel
    strength: int,  # 0..128: the part of an error that is passed on, in 128ths
    labels: Tensor,  # [H, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences of those not kept
    """Give every pixel the entry nearest to its level and the errors that reach it, and pass on what remains.

    A pixel takes errors from its left and from the three above it, so all pixels with the same x + 2 y are independent.
    They are worked on together, diagonal by diagonal, with the errors of the last three.
    """
    height, width = labels.shape
    y, levels = torch.arange(height, device=rows.device), palette.to(torch.int32)
    found = torch.empty(height, width, dtype=torch.int32, device=rows.device)
    errors = torch.zeros(4, height + 1, 3, dtype=torch.int32, device=rows.device)  # of row y at y + 1
    last = torch.zeros(width + 2, 3, dtype=torch.int32, device=rows.device)  # errors of the last row, from x + 1 on
    total = torch.zeros((), dtype=torch.int64, device=rows.device)
    for diagonal in range(width + 2 * (height - 1)):
        first, end = max(0, (diagonal - width + 2) // 2), min(height, diagonal // 2 + 1)
        down, across = y[first:end], diagonal - 2 * y[first:end]
        before, above, corner = errors[(diagonal - 1) & 3], errors[(diagonal - 2) & 3], errors[(diagonal - 3) & 3]
        level = 7 * before[first + 1 : end + 1] + 3 * before[first:end] + 5 * above[first:end] + corner[first:end]
        if first == 0:
            level[:1] += falling[diagonal]
        own = rows[down, across, :3].to(torch.int32)
        level = (own + ((level + 8) >> 4)).clamp_(0, 255)
        label = allowed[_nearest(level, levels[allowed])]
        error, apart = (level - levels[label]).clamp_(-limit, limit), own - levels[label]
        error = (error * strength + FULL_STRENGTH // 2) >> STRENGTH_BITS
        if kept is not None:
            stays = kept[down, across]
            label = torch.where(stays < 0, label, stays)
            error, apart = (part * (stays < 0)[:, None] for part in (error, apart))
        total += apart.square().sum()
        found[down, across] = label.to(torch.int32)
        now = errors[diagonal & 3].zero_()  # 0 beside the ends of rows, too
        now[first + 1 : end + 1] = error
        if end == height:
            last[1 + diagonal - 2 * (height - 1)] = error[-1]
    falling.copy_(3 * last[2:] + 5 * last[1:-1] + last[:-2])
    uint16_as_int16(labels).copy_(found)
    return torch.bincount(found.view(-1), minlength=len(palette)), int(total)


def _nearest(
    levels: Tensor,  # [N, 3] int32
    palette: Tensor,  # [K, 3] int32
) -> Tensor:  # [N] int64: the first of the nearest entries
    parts = []
    for part in levels.split(max(1, AT_ONCE // len(palette))):
        apart = (part[:, None, 0] - palette[:, 0]).square_()
        for axis in (1, 2):
            apart += (part[:, None, axis] - palette[:, axis]).square_()
        parts.append(apart.argmin(dim=1))
    return torch.cat(parts)


def walk_to_regions(
    colors: Tensor,  # [C, 3] uint8
    walls: Tensor,  # [R, 4, 4] float64: wall i of a region is walls[:, i, :3] . c + walls[:, i, 3] above a color inside
    behind: Tensor,  # [R, 4] int64: the region of fewer entries on the other side, or -1: there is no such wall
    first_front: Tensor,  # [R + 1] int64
    fronts: Tensor,  # int64, for each region, from its first on: 4 r + i of the walls that have it on their other side
) -> Tensor:  # [C] int32
    """Find the region of each color, that of the fewest entries where the color lies in a wall.

    Every color goes through the wall that it is farthest behind, until it is behind none. Where numbers round, one
    could go around in circles: after MOST_STEPS all regions are looked at.
    """
    given, levels = (walls, behind, first_front, fronts), colors.double()
    here = torch.zeros(len(colors), dtype=torch.int64, device=colors.device)
    if len(colors) > 1:
        here = walk_to_regions(colors[::EVERY], *given).long().repeat_interleave(EVERY)[: len(colors)]
    left = torch.arange(len(colors), device=colors.device)
    for _ in range(MOST_STEPS):
        height, onward = _lowest(levels[left], here[left], *given)
        left, onward = left[height < 0], onward[height < 0]
        if not len(left):
            break
        here[left] = onward
    regions = torch.arange(len(behind), device=colors.device)
    for place in left.tolist():
        here[place] = _lowest(levels[place].expand(len(regions), 3), regions, *given)[0].argmax()
    return here.int()


def _lowest(
    levels: Tensor,  # [C, 3] float64
    here: Tensor,  # [C] int64
    walls: Tensor,
    behind: Tensor,
    first_front: Tensor,
    fronts: Tensor,
) -> tuple[Tensor, Tensor]:  # [C] float64, [C] int64
    """The least height of each color above the walls of a region, and the region behind that wall."""
    at_once = max(1, WALLS_AT_ONCE // (4 + int(first_front.diff().max())))
    parts = zip(levels.split(at_once), here.split(at_once), strict=True)
    heights, onward = zip(*(_lowest_of(*part, walls, behind, first_front, fronts) for part in parts), strict=True)
    return torch.cat(heights), torch.cat(onward)


def _lowest_of(
    levels: Tensor, here: Tensor, walls: Tensor, behind: Tensor, first_front: Tensor, fronts: Tensor
) -> tuple[Tensor, Tensor]:
    every, n_fronts = torch.arange(len(here), device=here.device), first_front[here + 1] - first_front[here]
    own, outer = every.repeat_interleave(4), every.repeat_interleave(n_fronts)
    number = torch.arange(len(outer), device=here.device) - (n_fronts.cumsum(0) - n_fronts)[outer]  # of a front
    front = fronts[first_front[here][outer] + number]
    inside = _heights(levels[own], walls[here].view(-1, 4)).masked_fill_(behind[here].view(-1) < 0, torch.inf)
    heights = torch.cat([inside, -_heights(levels[outer], walls.view(-1, 4)[front])])
    rows, onward = torch.cat([own, outer]), torch.cat([behind[here].view(-1), front >> 2])
    lowest = heights.new_full(here.shape, torch.inf).scatter_reduce_(0, rows, heights, "amin")
    onward = torch.where(heights == lowest[rows], onward, -1)
    return lowest, here.new_full(here.shape, -1).scatter_reduce_(0, rows, onward, "amax")


def _heights(levels: Tensor, walls: Tensor) -> Tensor:  # [C, 3], [C, 4] -> [C]
    return (levels * walls[:, :3]).sum(dim=1) + walls[:, 3] - TOLERANCE


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
    seen = rows[:, :, :3].expand(-1, -1, 3)
    across, columns = (torch.arange(n, device=rows.device) for n in labels.shape)
    thresholds = mask[((across + top) % len(mask))[:, None], columns % mask.shape[1]] & (1 << FIELD_BITS - 1) - 1
    which = numbers.int()
    limits = mixtures[:, 3][which]
    for axis in range(3):
        limits += mixtures[:, axis][which] * seen[:, :, axis]
    place = torch.zeros_like(which)
    for number in range(3):
        place += (limits >> number * FIELD_BITS & (1 << FIELD_BITS) - 1) <= thresholds
    found = (mixtures[:, 4][which] >> 16 * place & 0xFFFF).int()
    apart = (seen.int() - palette.int()[found]).square_().sum(dim=2)
    uint16_as_int16(labels).copy_(found)
    return torch.bincount(found.view(-1), minlength=len(palette)), int(apart.sum())


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    words = uint16_as_int16(labels)
    becomes = numbers.to(words.dtype)
    n_rows = max(1, AT_ONCE // labels.shape[1])
    for rows in words.split(n_rows):
        rows.copy_(becomes[rows.to(torch.int32) & 0xFFFF])
