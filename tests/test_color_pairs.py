"""Pairs of entries that mix to a colour, against a loop over all pairs."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant import color_pairs
from gpuquant.color_pairs import GRAIN, pair_colors

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def pairs(colors: Pixels, palette: Pixels, strength: float = 1.0, n_levels: int = 256) -> tuple[Numbers, ...]:
    apart = np.square(colors.astype(np.int64)[:, None] - palette.astype(np.int64)).sum(axis=2)
    labels = torch.from_numpy(apart.argmin(axis=1).astype(np.int32))
    found = pair_colors(torch.from_numpy(colors), torch.from_numpy(palette), labels, strength, n_levels)
    assert [part.dtype for part in found] == [torch.int32, torch.int32, torch.int16]
    return tuple(part.numpy().astype(np.int64) for part in found)


def test_pairs_have_the_lowest_cost() -> None:
    random = np.random.default_rng(0)
    colors, palette = (random.integers(0, 256, (n, 3), dtype=np.uint8) for n in (300, 12))
    low, high, limits = pairs(colors, palette, n_levels=1 << 14)
    entries = palette.astype(np.float64)
    for color, one, other, limit in zip(colors.astype(np.float64), low, high, limits, strict=True):
        nearest = np.square(entries - color).sum(axis=1).argmin()
        assert nearest in (one, other)
        costs = []
        for partner in set(range(len(entries))) - {int(nearest)}:
            way = entries[partner] - entries[nearest]
            share = float(np.clip((color - entries[nearest]) @ way / max(way @ way, 1), 0, 1))
            mix = entries[nearest] + share * way
            costs.append(np.square(mix - color).sum() + GRAIN * share * (1 - share) * (way @ way))
        way = entries[other] - entries[one]
        mix = entries[one] + limit / (1 << 14) * way
        share = limit / (1 << 14)
        cost = np.square(mix - color).sum() + GRAIN * share * (1 - share) * (way @ way)
        assert cost == pytest.approx(min(costs), rel=1e-3, abs=0.1)
        assert entries[one] @ (299, 587, 114) <= entries[other] @ (299, 587, 114)


def test_entries_are_themselves_for_any_strength() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (40, 3), dtype=np.uint8)
    palette[7] = palette[3]
    for strength in (0.01, 0.5, 1.0):
        low, high, limits = pairs(palette, palette, strength)
        taken = np.where(limits == 256, high, low)
        assert set(limits.tolist()) <= {0, 256}
        np.testing.assert_array_equal(palette[taken], palette)


def test_strength_narrows_what_is_mixed_to_the_middle() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    ends = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    low, high, limits = pairs(greys, ends, n_levels=255)
    assert (set(low.tolist()), set(high.tolist())) == ({0}, {1})
    np.testing.assert_array_equal(limits, np.arange(256))  # which goes on where the nearest entry changes
    half = pairs(greys, ends, 0.5, 255)[2]
    np.testing.assert_allclose(half, ((np.arange(256) / 255 - 0.5) * 2 + 0.5).clip(0, 1) * 255, atol=0.51)


def test_one_entry_and_one_that_is_there_many_times() -> None:
    grey = np.full((1, 3), 90, np.uint8)
    assert [part.tolist() for part in pairs(np.array([[1, 2, 3]], np.uint8), grey)] == [[0], [0], [0]]
    palette = np.concatenate([np.zeros((99, 3), np.uint8), np.full((1, 3), 255, np.uint8)])
    low, high, limits = pairs(grey, palette)
    assert (low.tolist(), high.tolist()) == ([0], [99])
    assert limits.tolist() == [round(90 / 255 * 256)]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    colors, palette = (random.integers(0, 256, (n, 3), dtype=np.uint8) for n in (1000, 64))
    whole = pairs(colors, palette)
    monkeypatch.setattr(color_pairs, "AT_ONCE", {"cpu": 7})
    for before, after in zip(whole, pairs(colors, palette), strict=True):
        np.testing.assert_array_equal(before, after)
