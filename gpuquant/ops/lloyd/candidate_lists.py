"""For every block of neighboring colors, the centers that can be nearest in it.

A center k cannot be nearest in a box if another center p is nearer everywhere in it, and as |x - k|^2 - |x - p|^2 is
linear in x, that is one comparison per box (Pelleg and Moore 1999, "Accelerating exact k-means algorithms with
geometric reasoning"). Few centers are left.

A score |c|^2 - 2 x.c carries the index of its center in its low bits, so one minimum gives both, and the lowest
index wins among equal scores. All of it fits the 53 bits of a float64: nothing rounds.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from gpuquant.ops.points.color_blocks import BLOCK, ColorBlocks
from gpuquant.threads import share_out, spare_threads

CENTER_BITS = 10  # centers are multiples of 2^-10 levels: scores have 20 bits after the point, and 18 before it
INDEX_BITS = 12  # of a center in its score, beside these 38 of the 53 of a float64
MAX_CLUSTERS = 1 << INDEX_BITS
FEW_POINTS = 1 << 17  # which one thread works on: others gain little, see `one_torch_thread`
MOST_WORKERS = 8  # each has scratch of its own, and what is not shared out becomes most of the time
CHUNKS_FOR_EACH = 4  # boxes whose lists are made before they are put together, for each thread
KEPT_NUMBERS = 1 << 23  # tables that hold more are made anew for every use: memory stays bounded

Item = TypeVar("Item")

_SCALE = float(1 << (2 * CENTER_BITS + INDEX_BITS))
_INDEX_MASK = MAX_CLUSTERS - 1
# lists are filled up to one of these, so that those of a length share a table, and at most half of one is filling
_LIST_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, eq=False)
class _Tables:
    """Blocks in the order of their lists' lengths, with equally many candidates for all of a table."""

    places: Tensor  # [G]
    points: Tensor  # [G, 4, BLOCK] float64, the fourth row is 1
    candidates: Tensor  # list after list
    sizes: list[tuple[int, int]]  # blocks and candidates for each of them, table by table


class CandidateLists:
    """The lists of several runs, valid while no center moves beyond its slack.

    Memory is taken once and kept: fresh pages cost more than the work on them.
    """

    def __init__(
        self,
        blocks: ColorBlocks,
        n_clusters: int,
        n_runs: int,
        scores_at_once: int,
    ) -> None:
        self.blocks = blocks
        device = blocks.points.device
        self._n_workers = 1
        if blocks.points.is_cpu and blocks.n_points > FEW_POINTS:
            self._n_workers = min(MOST_WORKERS, spare_threads())
        self._at_once = max(scores_at_once // self._n_workers, n_clusters * BLOCK)
        self._scratch = torch.empty(self._n_workers, 3, self._at_once, dtype=torch.float64, device=device)
        at_once = KEPT_NUMBERS // (5 * BLOCK)
        self._boxes_at_once = min(max(1, self._at_once // n_clusters), at_once)
        n_places = min(blocks.n_problems * n_runs * blocks.n_blocks, at_once + self._boxes_at_once)
        self._points = torch.ones(n_places, 4, BLOCK, dtype=torch.float64, device=device)
        self._lowest = torch.empty(n_places, BLOCK, dtype=torch.float64, device=device)
        self._active: list[int] = []
        self._n_runs = n_runs
        self._tables: _Tables | None = None
        self.kept = True  # whether the tables are kept between uses

    def make(
        self,
        active: list[int],  # [A]: runs
        centers: Tensor,  # [A, K, 3] float64, shifted
        slack: Tensor,  # [A, K] float64: how far each center may move, in levels
    ) -> None:
        """Begin new lists; their tables are computed when they are first used."""
        self._active, self._centers, self._slack = active, centers, slack
        self._tables = None

    def hold_for(
        self,
        active: list[int],
        centers: Tensor,  # [A, K, 3] float64, shifted
    ) -> bool:
        """Tell whether the lists are of these runs, and no center has moved by more than its slack since."""
        if self._tables is None or active != self._active:
            return False
        return bool(((centers - self._centers).square().sum(dim=2) <= self._slack.square()).all())

    def nearest(
        self,
        centers: Tensor,  # [A, K, 3] float64, shifted
    ) -> Tensor:  # [A, n_blocks, BLOCK] int16
        """The nearest center of every color."""
        labels = torch.empty(len(centers), self.blocks.n_blocks, BLOCK, dtype=torch.int16, device=centers.device)
        terms = _score_terms(centers).view(-1, 4)
        for tables in self._parts():
            chosen = terms.index_select(0, tables.candidates)
            lowest = self._lowest[: len(tables.places)]
            parts: list[tuple[int, int, int, int]] = []
            block = candidate = 0
            for n_blocks, length in tables.sizes:
                parts.append((block, n_blocks, candidate, length))
                block += n_blocks
                candidate += n_blocks * length
            self._share_out(parts, partial(_lowest_scores, chosen, tables.points, lowest))
            labels.view(-1, BLOCK).index_copy_(0, tables.places, _index_of(lowest).to(torch.int16))
        return labels

    def _share_out(self, items: Sequence[Item], work: Callable[[Item, Tensor], None]) -> None:
        """Do work on items, with scratch [3, numbers] for each thread."""
        free = deque(self._scratch)

        def borrowing(item: Item) -> None:
            scratch = free.pop()
            work(item, scratch)
            free.append(scratch)

        share_out(items, borrowing, self._n_workers)

    def _parts(self) -> Iterator[_Tables]:
        """The tables, made when first asked for and kept if they are small enough."""
        if self._tables is None:
            parts = self._make_parts()
            self._tables = next(parts)
            yield self._tables
            for tables in parts:
                self._tables = None
                yield tables
            self.kept = self._tables is not None
        else:
            yield self._tables

    def _make_parts(self) -> Iterator[_Tables]:
        """Tables for as many blocks at a time as may be kept."""
        n_clusters = self._slack.shape[1]
        n_all = len(self._active) * self.blocks.n_blocks
        lengths: list[Tensor] = []
        candidates: list[Tensor] = []
        begin = end = numbers = 0
        for place, run in enumerate(self._active):
            boxes = self.blocks.boxes[run // self._n_runs].split(self._boxes_at_once)
            for some_lengths, some_candidates in self._lists_of(boxes, place):
                lengths.append(some_lengths)
                candidates.append(some_candidates + place * n_clusters)
                end += len(some_lengths)
                numbers += len(some_candidates) + 5 * BLOCK * len(some_lengths)
                if numbers > KEPT_NUMBERS and end < n_all:
                    yield self._sorted_by_length(begin, torch.cat(lengths), torch.cat(candidates))
                    lengths, candidates, begin, numbers = [], [], end, 0
        yield self._sorted_by_length(begin, torch.cat(lengths), torch.cat(candidates))

    def _lists_of(
        self, boxes: Sequence[Tensor], place: int
    ) -> Iterator[tuple[Tensor, Tensor]]:  # lengths; list after list
        """The lists of an active run, for some boxes at a time."""
        at_once = CHUNKS_FOR_EACH * self._n_workers
        for first in range(0, len(boxes), at_once):
            found: dict[int, tuple[Tensor, Tensor]] = {}

            def look(chunk: int, scratch: Tensor, found: dict[int, tuple[Tensor, Tensor]] = found) -> None:
                kept = _survivors(boxes[chunk], self._centers[place], self._slack[place], scratch)
                found[chunk] = kept.sum(dim=1), positions(kept) % kept.shape[1]

            chunks = range(first, min(first + at_once, len(boxes)))
            self._share_out(chunks, look)
            yield from (found[chunk] for chunk in chunks)

    def _sorted_by_length(
        self,
        begin: int,  # place of the first block
        lengths: Tensor,  # [G]
        candidates: Tensor,  # list after list
    ) -> _Tables:
        """One table for all blocks with about equally many candidates; short lists repeat their last one."""
        n_blocks, device = self.blocks.n_blocks, lengths.device
        starts = lengths.cumsum(0) - lengths
        lengths, order = lengths.sort(stable=True)
        bounds = torch.tensor(_LIST_LENGTHS, device=device)
        padded = bounds[torch.searchsorted(bounds, lengths)].clamp_(max=self._slack.shape[1])
        owners = torch.repeat_interleave(padded)
        position = torch.arange(len(owners), device=device) - (padded.cumsum(0) - padded)[owners]
        chosen = candidates[starts[order][owners] + position.minimum(lengths[owners] - 1)]
        places = order + begin
        first_block = torch.tensor(self._active, device=device) // self._n_runs * n_blocks
        sources = first_block[places // n_blocks] + places % n_blocks
        points = self._points[: len(places)]
        points[:, :3] = self.blocks.points.view(-1, 3, BLOCK).index_select(0, sources)
        sizes: list[tuple[int, int]] = []
        for length, count in zip(*(part.tolist() for part in padded.unique(return_counts=True)), strict=True):
            at_once = self._at_once // (length * BLOCK)
            sizes += [(min(at_once, count - first), length) for first in range(0, count, at_once)]
        return _Tables(places, points, chosen, sizes)


def _lowest_scores(
    chosen: Tensor,  # [candidates, 4] float64
    points: Tensor,  # [G, 4, BLOCK] float64
    lowest: Tensor,  # [G, BLOCK] float64: written
    part: tuple[int, int, int, int],  # the first block, how many, the first candidate, how many for each block
    scratch: Tensor,  # [3, numbers] float64
) -> None:
    block, n_blocks, candidate, length = part
    factors = chosen[candidate : candidate + n_blocks * length].view(n_blocks, length, 4)
    scores = scratch[0, : n_blocks * length * BLOCK].view(n_blocks, length, BLOCK)
    torch.bmm(factors, points[block : block + n_blocks], out=scores)
    torch.amin(scores, dim=1, out=lowest[block : block + n_blocks])


def _survivors(
    boxes: Tensor,  # [n, 4] float64: middle and radius of every block, n x K numbers fit a row of scratch
    centers: Tensor,  # [K, 3] float64, shifted
    slack: Tensor,  # [K] float64
    scratch: Tensor,  # [3, at least n x K] float64
) -> Tensor:  # [n, K] bool
    """Find the centers that may win in each block, even after every center has moved by its slack.

    With m the middle of a block, r its radius and p the center nearest to m, center k loses to p all over the block if
    |m - k|^2 - |m - p|^2 > 2 r |k - p|. Moves of s_k and s_p take at most (s_k + s_p) (|x - k| + |x - p|) from the left
    side, and |x - k| + |x - p| <= 2 (|m - p| + r) + |k - p|.
    """
    n_clusters = len(centers)
    terms = _score_terms(centers)
    squares = centers.square().sum(dim=1)
    middle, radii = boxes[:, :3], boxes[:, 3:]
    scores, limit, factor = scratch[:, : len(boxes) * n_clusters].view(3, len(boxes), n_clusters)
    torch.addmm(terms[:, 3], middle, terms[:, :3].t(), out=scores)
    lowest = scores.amin(dim=1, keepdim=True)
    pivots = _index_of(lowest)[:, 0]
    pivot_points, pivot_slack = centers[pivots], slack[pivots][:, None]
    reach = 2 * ((middle - pivot_points).square().sum(dim=1, keepdim=True).sqrt() + radii)
    torch.addmm(squares, pivot_points, centers.t(), alpha=-2, out=limit)
    limit.add_(squares[pivots][:, None]).clamp_(min=0).sqrt_()  # |k - p|
    limit.mul_(torch.add(slack, pivot_slack + 2 * radii, out=factor))
    limit.add_(torch.mul(slack, reach, out=factor)).add_(pivot_slack * reach + 1e-6).mul_(_SCALE)
    return torch.le(scores.sub_(lowest), limit)


def _score_terms(centers: Tensor) -> Tensor:  # [..., K, 4]
    """The score |c|^2 - 2 x.c, scaled and with the index of c [..., K, 3] in its low bits, as factors of x and of 1."""
    index = torch.arange(centers.shape[-2], dtype=torch.float64, device=centers.device)
    offsets = centers.square().sum(dim=-1) * _SCALE + index
    return torch.cat([centers * (-2 * _SCALE), offsets[..., None]], dim=-1)


def _index_of(scores: Tensor) -> Tensor:
    return scores.to(torch.int64).bitwise_and_(_INDEX_MASK)


def positions(mask: Tensor) -> Tensor:  # int64, where the flattened mask is true
    if mask.is_cpu:  # NumPy's search is ten times faster on the sparse masks of late iterations
        return torch.from_numpy(mask.numpy().reshape(-1).nonzero()[0])
    return mask.view(-1).nonzero().view(-1)
