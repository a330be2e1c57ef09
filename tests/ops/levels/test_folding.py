"""Samples that are levels: compiled loops and plain torch, against NumPy's unique."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_oracles import check_that_tables_are_clean

from gpuquant import ops
from gpuquant.colors.codes import z_order
from gpuquant.ops import compiled
from gpuquant.ops.compiled import has_numba
from gpuquant.ops.levels import cpu_folding, reference

Folded = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None
Fold = Callable[[torch.Tensor], Folded]

SCALES = ["levels", "divided", "multiplied", "uint8"]
DTYPES = [torch.float32, torch.float64]


def plain(samples: torch.Tensor) -> Folded:
    """`ops.fold_levels` as if Numba could not be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "runs_for", lambda _: False)
        found = ops.fold_levels(samples)
        if found is None:
            return None
        keys, sample_keys, counts = found[1], found[2], found[4]
        assert counts is not None
        np.testing.assert_array_equal(counts.numpy(), np.bincount(np.searchsorted(keys.numpy(), sample_keys.numpy())))
        return found[:4]


folds = [pytest.param(cpu_folding.fold_levels, marks=needs_numba), plain]
both = pytest.mark.parametrize("fold", folds)


def scaled(levels: Pixels, scale: str, dtype: torch.dtype) -> torch.Tensor:
    if scale == "uint8":
        return torch.from_numpy(levels)
    wide = torch.from_numpy(levels).to(dtype)
    return {"levels": wide, "divided": wide / 255, "multiplied": wide * torch.tensor(1 / 255, dtype=dtype)}[scale]


def check(found: Folded, levels: Pixels, samples: torch.Tensor) -> None:
    assert found is not None
    values, keys, sample_keys, others = found
    n_columns = levels.shape[1]
    assert torch.equal(values[torch.from_numpy(levels).long()], samples.to(values.dtype))
    columns = [0, min(1, n_columns - 1), min(2, n_columns - 1)]
    expected, places = np.unique(z_order(torch.from_numpy(levels[:, columns])).numpy(), return_inverse=True)
    np.testing.assert_array_equal(keys.numpy(), expected)
    np.testing.assert_array_equal(sample_keys.numpy(), expected[places.reshape(-1)])
    assert sample_keys.dtype == keys.dtype == torch.int32
    np.testing.assert_array_equal(others.numpy(), levels[:, 3] if n_columns == 4 else [])


@pytest.mark.parametrize("module", [pytest.param(cpu_folding, marks=needs_numba), reference])
@pytest.mark.parametrize(("n_colors", "n_samples"), [(0, 0), (1, 1), (1, 70), (900, 5), (1000, 200_003)])
@pytest.mark.parametrize("highest", [3, 255, 256, 70_000])
def test_keys_are_ranked_and_looked_up(module: ModuleType, n_colors: int, n_samples: int, highest: int) -> None:
    random = np.random.RandomState(n_samples)
    keys = np.unique(np.append(random.randint(0, 1 << 24, n_colors), [0, 63, 64, (1 << 24) - 1][:n_colors]))
    ranks = random.randint(0, max(1, len(keys)), n_samples)
    values = random.randint(0, highest + 1, len(keys))
    values[-1:] = highest
    given, wanted = (torch.from_numpy(some.astype(np.int32)) for some in (keys, values))
    sample_keys = given[ranks] if n_samples else given[:0]
    found = module.rank_keys(sample_keys.clone(), given)
    np.testing.assert_array_equal(found.numpy(), ranks)
    check_that_tables_are_clean()
    values_found = module.take_by_keys(wanted, given, sample_keys.clone())
    np.testing.assert_array_equal(values_found.numpy(), values[ranks] if n_samples else [])
    assert found.dtype == values_found.dtype == torch.int32
    check_that_tables_are_clean()


@both
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_samples", "n_columns"), [(1, 3), (5, 4), (300, 1), (7000, 2), (40_001, 3), (9001, 4)])
def test_levels_are_recognized(fold: Fold, scale: str, dtype: torch.dtype, n_samples: int, n_columns: int) -> None:
    levels = np.random.RandomState(0).randint(0, 256, (n_samples, n_columns)).astype(np.uint8)
    levels[: n_samples // 2] //= 16
    levels[:2] = [[0], [255]][: len(levels[:2])]
    samples = scaled(levels, scale, dtype)
    check(fold(samples), levels, samples)
    check_that_tables_are_clean()


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES[:3])
def test_every_level_is_read_and_no_neighbor_of_one(fold: Fold, scale: str, dtype: torch.dtype) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)
    samples = scaled(levels, scale, dtype)
    check(fold(samples), levels, samples)
    for place in range(0, 256, 5):
        for column in range(3):
            for toward in (-np.inf, np.inf):
                broken = samples.clone()
                broken[place, column] = torch.nextafter(broken[place, column], torch.tensor(toward, dtype=dtype))
                assert fold(broken) is None
    check_that_tables_are_clean()


@both
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1, 256, 256 / 255, -1e-9, 0.5])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (69_999, 3), (35_000, 1)])
def test_other_numbers_are_no_levels(fold: Fold, value: float, row: int, column: int) -> None:
    samples = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (70_000, 4)) / 255)
    samples[row, column] = value
    assert fold(samples) is None
    check_that_tables_are_clean()


@both
def test_rows_that_fit_another_scale_may_come_first(fold: Fold) -> None:
    """Black and white are levels as they are, too."""
    levels = np.repeat(np.array([[0], [255], [9]], np.uint8), 40_000, axis=0).repeat(3, axis=1)
    samples = torch.from_numpy(levels / 255)
    check(fold(samples), levels, samples)


@both
@settings(max_examples=40)
@given(
    n_samples=st.integers(1, 3000), n_columns=st.integers(1, 4), step=st.integers(1, 255), seed=st.integers(0, 10**6)
)
def test_few_and_many_colors(fold: Fold, n_samples: int, n_columns: int, step: int, seed: int) -> None:
    levels = np.random.RandomState(seed).randint(0, 256, (n_samples, n_columns)).astype(np.uint8) // step * step
    levels[0] = 7  # is no multiple of 255, or black and white would be levels as they are
    samples = torch.from_numpy(levels / 255)
    check(fold(samples), levels, samples)


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_threads_change_nothing(
    n_threads: int, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, china: Pixels
) -> None:
    monkeypatch.setattr(cpu_folding, "FEW_ROWS", 0)
    monkeypatch.setattr(cpu_folding, "CHUNK_ROWS", 777)
    set_threads(n_threads)
    levels = china.reshape(-1, 3)
    samples = torch.from_numpy(levels / 255)
    found = cpu_folding.fold_levels(samples)
    check(found, levels, samples)
    assert found is not None
    _, keys, sample_keys, _ = found
    expected = np.searchsorted(keys.numpy(), sample_keys.numpy())
    np.testing.assert_array_equal(cpu_folding.rank_keys(sample_keys, keys).numpy(), expected)
    samples[-1, 2] += 1e-9
    assert cpu_folding.fold_levels(samples) is None
    check_that_tables_are_clean()


def test_plain_torch_runs_where_numba_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = reference.read_levels

    def read_levels(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        calls.append(len(samples))
        return original(samples)

    monkeypatch.setattr(reference, "read_levels", read_levels)
    samples: torch.Tensor = torch.zeros(5, 3, dtype=torch.float64)
    assert ops.fold_levels(samples) is not None
    assert calls == ([] if has_numba() else [5])
    assert plain(samples) is not None
    assert calls[-1:] == [5]
