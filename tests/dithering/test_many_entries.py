"""Ordered dithers with palettes of hundreds and thousands of entries."""

import numpy as np
import pytest
import torch

from gpuquant import Palette, apply_palette
from gpuquant.dithering import methods
from gpuquant.dithering.methods import CLOSE_ENTRIES, MOST_MIXED
from gpuquant.dithering.mixtures import WORTH, mix_colors
from gpuquant.dithering.regions import find_regions
from gpuquant.errors import ArgumentError


def test_flat_areas_of_many_entries_have_the_mean_of_their_mixture() -> None:
    random = np.random.RandomState(0)
    palette = np.unique(random.randint(0, 256, (400, 3)), axis=0).astype(np.uint8)
    assert len(palette) > 256
    for color in random.randint(60, 190, (5, 3)).astype(np.uint8):
        flat = np.ascontiguousarray(np.broadcast_to(color, (128, 128, 3)))
        found = apply_palette(flat, Palette(palette), dither="blue-noise").to_array()
        regions = find_regions(palette, CLOSE_ENTRIES.costs)
        first, second = (regions.of(color[None], cost) for cost in (0, 1))
        is_worth_it = regions.grains(color[None], first) > WORTH * regions.grains(color[None], second)
        here = np.where(is_worth_it, second, first)
        mean = regions.shares(color[None], here)[0] @ regions.levels[here[0] % len(regions.sizes)]
        np.testing.assert_allclose(found.mean(axis=(0, 1)), mean, atol=0.3)


@pytest.mark.parametrize("dither", ["blue-noise", "bayer"])
def test_a_mask_refuses_more_entries_than_it_can_mix(dither: str) -> None:
    palette = Palette(np.random.RandomState(0).randint(0, 256, (MOST_MIXED + 1, 3)).astype(np.uint8))
    image = np.zeros((3, 4, 3), np.uint8)
    with pytest.raises(ArgumentError, match="at most 4096 entries, not 4097; use dither"):
        apply_palette(image, palette, dither=dither)
    apply_palette(image, palette, dither="floyd-steinberg")


def test_more_mixtures_than_two_bytes_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without alpha."""
    monkeypatch.setattr(methods, "MOST_MIXED", 16_000)
    random = np.random.RandomState(0)
    palette, pixels = (random.randint(0, 256, shape).astype(np.uint8) for shape in ((16_000, 3), (400, 400, 3)))
    colors = torch.from_numpy(pixels.reshape(-1, 3))
    mixed = mix_colors(colors, torch.from_numpy(palette), torch.arange(len(palette)), 1.0, CLOSE_ENTRIES)
    assert len(mixed.forms) > 1 << 16
    entries = mixed.forms[mixed.numbers.long(), 4].numpy()[:, None] >> np.arange(0, 64, 16) & 0xFFFF
    with_alpha = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
    with_alpha[:1, :9, 3] = 100
    for image in (pixels, with_alpha):
        found = apply_palette(image, Palette(palette), dither="bayer")
        labels = np.asarray(found.labels).reshape(-1, 1)
        assert (entries == labels)[9:].any(axis=1).all()
