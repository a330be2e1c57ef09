"""Emulations of k-means++, by the sums of the first program."""

from operator import itemgetter
from types import SimpleNamespace

import torch
from torch import Tensor

from played.device import PROCESSORS
from played.emulations import Grid, emulates


@emulates("choose_centers_kernel")
def choose_centers(grid: Grid, a: SimpleNamespace) -> None:
    assert grid[0] * grid[1] <= PROCESSORS
    n_chunks = -(-a.n_points // a.CHUNK)
    assert len(a.own) == a.n_all * (2 * a.LANES * (grid[0] + n_chunks + 1) + a.n_points)
    n_found = a.n_centers * a.D + 2
    every, limits, uniform = a.numbers.split([a.n_all * n_found, a.n_all, a.n_all * a.n_uniforms])
    assert not every.any()
    a.n_made = [0] * a.n_all
    for run in range(a.n_all):
        points, weights = a.points[run // a.n_runs].double(), a.weights[run // a.n_runs]
        found, uniforms = every.view(-1, n_found)[run], uniform.view(-1, a.n_uniforms)[run]
        closest = torch.ones(a.n_points, dtype=torch.float64)
        tried: list[tuple[float, int]] = []  # the potential that each candidate would bring, and its point
        for step in range(a.n_centers + 2):
            a.n_made[run] += 1
            if step == 0:
                continue
            if step > 1:
                potential, index = min(tried, key=itemgetter(0))
                apart = (points - points[index]).square().sum(dim=1)
                closest = apart if step == 2 else torch.minimum(closest, apart)
                found[(step - 2) * a.D : (step - 1) * a.D], found[-2] = points[index], potential
                if step > a.n_centers or potential < float(limits[run]):
                    break
            start, number = (1 + (step - 2) * a.n_candidates, a.n_candidates) if step > 1 else (0, 1)
            tried = []
            for one in _drawn(weights * closest, uniforms[start : start + number], right=step == 1).tolist():
                apart = (points - points[one]).square().sum(dim=1)
                nearest = torch.minimum(closest, apart) if step > 1 else apart
                tried.append((float((weights * nearest).sum()), one))


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
