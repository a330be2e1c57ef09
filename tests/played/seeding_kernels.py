"""Emulations of k-means++, by the sums of the first program."""

from types import SimpleNamespace

import torch
from torch import Tensor

from gpuquant.ops.seeding.cuda import PER_PROCESSOR
from played.device import PROCESSORS
from played.emulations import Grid, emulates


@emulates("choose_centers_kernel")
def choose_centers(grid: Grid, a: SimpleNamespace) -> None:
    assert grid[0] * grid[1] <= PER_PROCESSOR * PROCESSORS
    n_chunks = -(-a.n_points // a.CHUNK)
    assert a.part_sums.shape == (a.n_all, 2, a.LANES, grid[0])
    assert a.chunk_sums.shape == (a.n_all, 2, a.LANES, n_chunks)
    assert a.candidates.shape == (a.n_all, 2, a.LANES)
    assert a.closest.shape == (a.n_all, a.n_points)
    assert a.found.shape == (a.n_all, a.n_centers * a.D + 1)
    assert a.arrived.shape == (a.n_all,)
    assert not a.found.any()
    assert not a.arrived.any()
    a.n_made = [0] * a.n_all
    for run in range(a.n_all):
        points, weights = a.points[run // a.n_runs].double(), a.weights[run // a.n_runs]
        found, uniforms = a.found[run], a.numbers[a.n_all + run * a.n_uniforms :]
        for step in range(a.n_centers + 2):
            a.n_made[run] += 1
            now, before = step % 2, (step + 1) % 2
            if step == 0:
                continue
            if step > 1:
                totals = a.part_sums[run, before].sum(dim=1)
                best = int(totals.argmin())
                index, potential = a.candidates[run, before, best], float(totals[best])
                apart = (points - points[index]).square().sum(dim=1)
                a.closest[run] = apart if step == 2 else torch.minimum(a.closest[run], apart)
                found[(step - 2) * a.D : (step - 1) * a.D], found[-1] = points[index], potential
                if step > a.n_centers or potential < float(a.numbers[run]):
                    break
            shares = weights * a.closest[run] if step > 1 else weights
            start = 1 + (step - 2) * a.n_candidates if step > 1 else 0
            tried = a.n_candidates if step > 1 else 1
            a.candidates[run, now, :tried] = _drawn(shares, uniforms[start : start + tried], right=step == 1)
            a.part_sums[run, now] = 0
            a.part_sums[run, now, tried:] = torch.inf
            for place, one in enumerate(a.candidates[run, now, :tried].tolist()):
                apart = (points - points[one]).square().sum(dim=1)
                nearest = torch.minimum(a.closest[run], apart) if step > 1 else apart
                a.part_sums[run, now, place, 0] = (weights * nearest).sum()


def _drawn(shares: Tensor, uniforms: Tensor, *, right: bool = False) -> Tensor:  # [N], [L] -> [L] int64
    running = shares.cumsum(dim=0)
    return torch.searchsorted(running, uniforms * running[-1], right=right).clamp_(max=len(running) - 1)


@emulates("try_pixels_kernel")
def try_pixels(grid: Grid, a: SimpleNamespace) -> None:
    assert a.part_sums.shape == (a.LANES, grid[0])
    assert len(a.draw_sums) == a.n_draw_parts
    assert len(a.chunk_sums) * a.CHUNK >= a.n_pixels
    if a.n_known == 0:
        shares = (a.pixel_weights if a.WEIGHTED else 1) * a.closest[a.ranks.long()]
        assert abs(float(a.draw_sums.sum() - shares.sum())) <= 1e-9 * float(shares.sum())
        uniforms = a.uniforms[a.uniform : a.uniform + a.n_candidates]
        a.candidates[: a.n_candidates] = a.ranks[_drawn(shares, uniforms)].long()
    a.part_sums.zero_()
    a.part_sums[a.n_candidates :] = torch.inf
    points = a.points.double()
    for place, index in enumerate(a.candidates[: a.n_candidates].tolist()):
        nearest = torch.minimum(a.closest, (points - points[index]).square().sum(dim=1))
        a.part_sums[place, 0] = (a.weights * nearest).sum()


@emulates("add_best_kernel")
def add_best(grid: Grid, a: SimpleNamespace) -> None:
    assert a.part_sums.shape == (a.LANES, grid[0])
    totals = a.part_sums.sum(dim=1)
    best, points = int(totals.argmin()), a.points.double()
    a.chosen[a.step], a.reached[0] = a.candidates[best], totals[best]
    torch.minimum(a.closest, (points - points[a.candidates[best]]).square().sum(dim=1), out=a.closest)


@emulates("sum_shares_kernel")
def sum_shares(grid: Grid, a: SimpleNamespace) -> None:
    assert len(a.draw_sums) == grid[0]
    a.draw_sums.zero_()
    a.draw_sums[0] = ((a.pixel_weights if a.WEIGHTED else 1) * a.closest[a.ranks.long()]).sum()
