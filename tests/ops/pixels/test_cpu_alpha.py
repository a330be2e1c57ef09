"""Pixels with alpha counted and looked up, compiled and in plain torch, against NumPy and a dictionary."""

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.counting import histogram as histogram_module
from gpuquant.counting.alpha_counts import colors_from_alpha_keys
from gpuquant.counting.lookup import label_lookup
from gpuquant.ops.pixels import cpu, cpu_alpha, reference

MODULES = [pytest.param(cpu_alpha, marks=needs_numba, id="compiled"), pytest.param(reference, id="torch")]


def noise(n_pixels: int, kind: str, seed: int = 0) -> Pixels:
    random = np.random.RandomState(seed)
    if kind == "few":
        return random.choice([0, 7, 255], (n_pixels, 4)).astype(np.uint8)
    pixels = random.randint(0, 256, (n_pixels, 4)).astype(np.uint8)
    if kind in ("clear", "opaque"):
        pixels[:, 3] = 0 if kind == "clear" else 255
    if kind == "one color":
        pixels[:, :3] = 200, 10, 90
    return pixels


def seen(pixels: Pixels) -> Pixels:
    """Clear pixels are all the same."""
    return np.where(pixels[:, 3:] == 0, 0, pixels).astype(np.uint8)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["few", "noise", "clear", "opaque", "one color"])
@pytest.mark.parametrize("n_pixels", [0, 1, 130, 20_000])
def test_every_color_is_counted(module: ModuleType, kind: str, n_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_alpha, "worker_threads", lambda: 3)
    monkeypatch.setattr(cpu_alpha, "PIXELS_A_PART", 100)
    monkeypatch.setattr(reference, "CHUNK_PIXELS", 7000)
    pixels = noise(n_pixels, kind)
    (keys, counts), (opaque, n_opaque) = module.count_alpha(torch.from_numpy(pixels))
    assert (keys.dtype, opaque.dtype, counts.dtype, n_opaque.dtype) == (
        torch.int64,
        torch.int32,
        torch.int64,
        torch.int64,
    )
    assert bool((keys[1:] > keys[:-1]).all())
    assert bool((opaque[1:] > opaque[:-1]).all())
    found = np.concatenate(
        [
            colors_from_alpha_keys(keys).numpy(),
            np.insert(reference.colors_from_keys(opaque).numpy(), 3, 255, axis=1),
        ]
    )
    order = np.lexsort(found.T[::-1])
    expected, numbers = np.unique(seen(pixels), axis=0, return_counts=True)
    np.testing.assert_array_equal(found[order], expected)
    np.testing.assert_array_equal(torch.cat([counts, n_opaque]).numpy()[order], numbers)
    partly = torch.from_numpy(expected[expected[:, 3] < 255])
    assert sorted(module.alpha_keys(partly).tolist()) == keys.tolist()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["few", "noise", "one color"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
@pytest.mark.parametrize("most_buckets", [1, 8, 1 << 22])
def test_every_pixel_is_looked_up(
    module: ModuleType, kind: str, dtype: torch.dtype, most_buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_alpha, "MOST_BUCKETS", most_buckets)
    monkeypatch.setattr(cpu_alpha, "CHUNK_PIXELS", 700)
    pixels = torch.from_numpy(noise(5000, kind))
    (keys, _), (opaque, _) = module.count_alpha(pixels)
    numbers = np.random.RandomState(1).randint(0, 256 if dtype == torch.uint8 else 30_000, len(keys) + len(opaque))
    values = torch.from_numpy(numbers).to(torch.int32)
    labels = values.to(torch.uint8) if dtype == torch.uint8 else values
    labels = values.to(torch.int16).view(torch.uint16) if dtype == torch.uint16 else labels
    tables = cpu if module is cpu_alpha else reference
    with tables.lookup_table(tables.colors_from_keys(opaque), labels[len(keys) :]) as table:
        more = () if module is cpu_alpha else (reference.apply_lookup,)
        found = module.alpha_lookup(keys, labels[: len(keys)], table, *more)(pixels)
    assert found.dtype == dtype
    colors = [*colors_from_alpha_keys(keys).tolist(), *([*c, 255] for c in reference.colors_from_keys(opaque).tolist())]
    by_color = {tuple(color): number for color, number in zip(colors, numbers.tolist(), strict=True)}
    expected = [by_color[tuple(pixel)] for pixel in seen(pixels.numpy()).tolist()]
    assert found.to(torch.int32).tolist() == expected


@settings(max_examples=30)
@given(st.integers(1, 300), st.booleans(), st.integers(0, 2**32 - 1))
def test_histogram_and_labels(n_pixels: int, in_order: bool, seed: int) -> None:
    pixels = noise(n_pixels, "few", seed)
    histogram = histogram_module.ColorHistogram()
    for part in np.array_split(pixels, min(3, n_pixels)):
        histogram.add_rows(torch.from_numpy(part))
    colors, counts = histogram.colors, histogram.counts
    if colors.shape[1] == 3:
        colors = torch.nn.functional.pad(colors, (0, 1), value=255)
    if not in_order:
        order = torch.from_numpy(np.random.RandomState(seed % 1000).permutation(len(colors)))
        colors, counts = colors[order], counts[order]
    for wide in (0, 300):
        labels = torch.arange(len(colors), dtype=torch.int32) + wide
        with label_lookup(colors, labels, torch.uint16 if wide else torch.uint8) as labels_of:
            found = labels_of(torch.from_numpy(pixels))
        assert found.dtype == (torch.uint16 if wide else torch.uint8)
        np.testing.assert_array_equal(colors.numpy()[found.numpy().astype(int) - wide], seen(pixels))
    numbers: npt.NDArray[np.int64] = np.bincount(found.numpy().astype(int) - 300, minlength=len(colors))
    np.testing.assert_array_equal(counts, numbers)
