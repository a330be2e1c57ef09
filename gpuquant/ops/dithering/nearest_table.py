"""NearestTable: the nearest palette entry of every 8-bit color, worked out where it is asked for.

The color cube is cut into cells of 8 x 8 x 8 colors. In a cell only the entries count that no other is nearer than
everywhere in it (Pelleg and Moore 1999, "Accelerating exact k-means algorithms with geometric reasoning"); each of
its colors is compared with these few. All numbers are integers: nothing rounds.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES

SIDE = 8  # colors on each side of a cell
N_SIDE = 256 // SIDE  # cells on each side of the cube
FEW_ENTRIES = 512  # more are sorted out for blocks of cells first
LARGEST_BLOCK, LEAST_BLOCK = 16, 4  # cells on each side
MOST_REQUESTS = 16  # then all is filled: a small part takes nearly as long
AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 22}  # numbers: on the CPU torch then stays in the thread that calls it
UNKNOWN = -1  # no index of an entry


class NearestTable:
    """A table from color codes to the nearest entries, the first of equal ones.

    Attributes
    ----------
    table : Tensor, [2^24] int16, or int32 above 32767 entries
        The index of the nearest entry, or `UNKNOWN` where `fill_around` has not been.
    """

    def __init__(
        self,
        palette: Tensor,  # [K, 3] uint8
    ) -> None:
        device = palette.device
        words = torch.int16 if len(palette) <= torch.iinfo(torch.int16).max else torch.int32
        self.palette = palette
        self.table = torch.full((N_CODES,), UNKNOWN, dtype=words, device=device)
        distinct, place = torch.unique(palette.to(torch.int32), dim=0, return_inverse=True)
        indices = torch.arange(len(palette), device=device)
        first = torch.full((len(distinct),), len(palette), device=device).scatter_reduce(0, place, indices, "amin")
        self._first = first.sort().values  # an entry that is there twice is the first one
        entries = palette.index_select(0, self._first)
        self._entries = entries.flip(1).to(torch.int32)  # [E, 3]: blue, green, red
        self._doubled = 2 * entries.float()  # [E, 3]: red, green, blue; so that the middles of cells are integers
        self._n_requests = 0
        inside = torch.arange(SIDE, device=device)
        self._inside = (inside[:, None, None] << 16 | inside[:, None] << 8 | inside).view(-1)  # codes in a cell
        self._filled = torch.zeros(N_SIDE, N_SIDE, N_SIDE, dtype=torch.bool, device=device)  # blue, green, red

    def fill(self) -> None:
        """Fill the whole table."""
        self._fill_cells(torch.ones_like(self._filled))

    def fill_around(
        self,
        codes: Tensor,  # [N] int32
    ) -> None:
        """Fill the cells of colors, and the cells beside these."""
        self._n_requests += 1
        if self._n_requests > MOST_REQUESTS:
            self.fill()
            return
        wanted = torch.zeros_like(self._filled)
        wanted[codes >> 19, (codes >> 11) & 31, (codes >> 3) & 31] = True
        for axis in range(3):
            before = wanted.clone()
            wanted.narrow(axis, 1, N_SIDE - 1).logical_or_(before.narrow(axis, 0, N_SIDE - 1))
            wanted.narrow(axis, 0, N_SIDE - 1).logical_or_(before.narrow(axis, 1, N_SIDE - 1))
        self._fill_cells(wanted)

    def _fill_cells(self, wanted: Tensor) -> None:
        cells = (wanted & ~self._filled).nonzero()  # [C, 3]: blue, green, red
        if not len(cells):
            return
        ordered, sizes, columns = [], [], []
        for some, entries in self._parts(cells, torch.arange(len(self._first), device=cells.device), LARGEST_BLOCK):
            possible = self._possible(some, SIDE, entries)
            ordered.append(some)
            sizes.append(possible.sum(dim=1))
            columns.append(entries.index_select(0, possible.nonzero()[:, 1]))
        self._settle_all(torch.cat(ordered), torch.cat(sizes), torch.cat(columns))
        self._filled |= wanted

    def _parts(
        self, cells: Tensor, entries: Tensor, block_cells: int
    ) -> Iterator[tuple[Tensor, Tensor]]:  # [C, 3], [E]: the entries that matter there
        if len(entries) <= FEW_ENTRIES or block_cells < LEAST_BLOCK:
            for some in cells.split(max(1, AT_ONCE[cells.device.type] // len(entries))):
                yield some, entries
            return
        blocks, place = torch.unique(cells // block_cells, dim=0, return_inverse=True)
        for number, block in enumerate(blocks):
            here = cells.index_select(0, (place == number).nonzero().view(-1))
            near = self._possible(block[None], SIDE * block_cells, entries)[0].nonzero().view(-1)
            yield from self._parts(here, entries.index_select(0, near), block_cells // 2)

    def _possible(
        self,
        boxes: Tensor,  # [C, 3] int64: blue, green, red
        side: int,  # of a box
        entries: Tensor,  # [E] int64
    ) -> Tensor:  # [C, E] bool
        """Find the entries that can be nearest somewhere in each box."""
        middles = (2 * side * boxes.flip(1) + side - 1).float()  # [C, 3]: red, green, blue, doubled
        centers = self._doubled.index_select(0, entries)
        apart = torch.zeros(len(boxes), len(centers), device=boxes.device)  # squared distances, exact below 2^24
        for axis in range(3):
            apart += (middles[:, axis, None] - centers[:, axis]).square_()
        nearest = apart.argmin(dim=1)
        lowest, nearest_centers = apart.gather(1, nearest[:, None]), centers.index_select(0, nearest)
        reach = torch.zeros_like(apart)  # the part of a difference in squared distances that a box can make up for
        for axis in range(3):
            reach += (nearest_centers[:, axis, None] - centers[:, axis]).abs_()
        return apart.sub_(lowest) <= reach.mul_(2 * (side - 1))

    def _settle_all(
        self,
        cells: Tensor,  # [C, 3] int64
        sizes: Tensor,  # [C] int64: candidates of each
        columns: Tensor,  # [sum of sizes] int64: cell after cell, ascending
    ) -> None:
        starts = sizes.cumsum(0) - sizes
        lengths = _lengths(int(sizes.max()))
        for shorter, length in zip([0, *lengths], lengths, strict=False):
            members = ((sizes > shorter) & (sizes <= length)).nonzero().view(-1)
            if not len(members):
                continue
            for few in members.split(AT_ONCE[cells.device.type] // SIDE**3):
                steps = torch.arange(length, device=cells.device).minimum(sizes.index_select(0, few)[:, None] - 1)
                places = (starts.index_select(0, few)[:, None] + steps).view(-1)
                self._settle(cells.index_select(0, few), columns.index_select(0, places).view(-1, length))

    def _settle(
        self,
        cells: Tensor,  # [G, 3] int64
        candidates: Tensor,  # [G, L] int64: ascending, the last of each repeated to fill up
    ) -> None:
        n_cells, n_candidates = candidates.shape
        bits = max(1, (n_candidates - 1).bit_length())  # the place among the candidates, below the distance
        words = torch.int32 if bits <= 13 else torch.int64
        inside = torch.arange(SIDE, device=cells.device)
        levels = (SIDE * cells[:, :, None] + inside).to(words)  # [G, 3, SIDE]
        entries = self._entries.index_select(0, candidates.view(-1)).view(n_cells, -1, 3).to(words)
        best: Tensor | None = None
        for place in range(n_candidates):
            blue, green, red = ((levels - entries[:, place, :, None]).square_() << bits).unbind(1)  # [G, SIDE] each
            scores = ((blue[:, :, None] + green[:, None]) | place)[:, :, :, None] + red[:, None, None]
            best = scores if best is None else torch.minimum(best, scores, out=best)
        assert best is not None
        found = candidates.gather(1, (best & ((1 << bits) - 1)).view(n_cells, -1).long())
        labels = self._first.index_select(0, found.view(-1)).to(self.table.dtype)
        codes = ((cells[:, 0] << 16 | cells[:, 1] << 8 | cells[:, 2]) * SIDE)[:, None] + self._inside
        self.table.scatter_(0, codes.view(-1), labels)  # torch shares indexing out among threads, whatever its size


def _lengths(longest: int) -> list[int]:
    """Lengths to which lists are filled up, in steps of about a half."""
    lengths = [1]
    while lengths[-1] < longest:
        lengths.append(min(longest, max(lengths[-1] + 1, lengths[-1] * 3 // 2)))
    return lengths
