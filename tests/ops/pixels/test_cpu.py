"""Lookup and what else is done pixel by pixel: compiled loops and their twin in plain torch, against NumPy."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from pixel_oracles import both, check_that_tables_are_clean, gray_or_not, numpy_keys, photo_like

from gpuquant import ops
from gpuquant.ops import compiled, pixel_dispatch
from gpuquant.ops.pixels import cpu, reference


@both
@gray_or_not
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
@pytest.mark.parametrize(("n_pixels", "at_once"), [(0, 9), (1, 9), (2, 1), (10_001, 1000), (150_003, 1 << 17)])
def test_lookup_gives_every_pixel_its_value(
    implementation: ModuleType,
    gray: bool,
    dtype: torch.dtype,
    n_pixels: int,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(implementation, "CHUNK_PIXELS", at_once)
    pixels = photo_like(n_pixels, gray=gray)
    keys, places = np.unique(numpy_keys(pixels), return_inverse=True)
    highest = {torch.uint8: 255, torch.uint16: 65535, torch.int32: 2**31 - 1}[dtype]
    values = np.random.RandomState(1).randint(0, highest + 1, len(keys), dtype=np.int64)
    values[:1] = highest
    as_tensors = torch.from_numpy(keys).int(), torch.from_numpy(values).to(dtype)
    for given_keys, given_values in (
        as_tensors,
        [part.flip(0) for part in as_tensors] if dtype != torch.uint16 else as_tensors,
    ):
        with implementation.lookup_table(reference.colors_from_keys(given_keys), given_values) as table:
            for _ in range(2):
                found = implementation.apply_lookup(torch.from_numpy(pixels), table)
                assert found.dtype == dtype
                np.testing.assert_array_equal(found.numpy(), values[places])
    check_that_tables_are_clean()


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_change_no_lookup(
    set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, n_threads: int
) -> None:
    monkeypatch.setattr(cpu, "FEW_PIXELS", 0)
    monkeypatch.setattr(cpu, "CHUNK_PIXELS", 777)
    pixels = torch.from_numpy(photo_like(30_000))
    keys, _ = cpu.count_colors(pixels)
    set_threads(n_threads)
    with cpu.table_by_keys(keys, keys) as table:
        found = cpu.apply_lookup(pixels, table)
    np.testing.assert_array_equal(found.numpy(), numpy_keys(pixels.numpy()))


@needs_numba
def test_a_failing_chunk_fails_the_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: Pixels, start: int, *others: Any) -> None:
        raise MemoryError(f"no memory at {start}")

    keys = torch.zeros(1, dtype=torch.int32)
    with monkeypatch.context() as patched:
        patched.setattr(cpu, "_look_up_rows", fail)
        with pytest.raises(MemoryError, match="no memory at"), cpu.table_by_keys(keys, keys + 7) as table:
            cpu.apply_lookup(torch.zeros(100, 3, dtype=torch.uint8), table)
    check_that_tables_are_clean()


@needs_numba
def test_compiled_loops_and_torch_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.zeros(1, 3, dtype=torch.uint8)
    assert pixel_dispatch._pixels_module(pixels) is cpu
    monkeypatch.setattr(compiled, "has_numba", lambda: False)
    assert pixel_dispatch._pixels_module(pixels) is reference


@both
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float64"])
@pytest.mark.parametrize("n_pixels", [0, 1, 300_001])
def test_each_rank_takes_its_value(implementation: ModuleType, dtype: str, n_pixels: int) -> None:
    random = np.random.RandomState(0)
    numbers, ranks = (1000 * random.normal(0, 99, 50)).astype(np.int64).astype(dtype), random.randint(0, 50, n_pixels)
    values, given = torch.from_numpy(numbers), torch.from_numpy(ranks).int()
    found, out = implementation.take(values, given), given if dtype == "int32" else values.new_empty(n_pixels)
    assert implementation.take(values, given, out=out) is out
    for taken in (found, out):
        assert taken.dtype == values.dtype
        np.testing.assert_array_equal(taken.numpy(), numbers[ranks])


@both
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4, 5, 9, 16, 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_are_rounded_as_numpy_rounds_them(implementation: ModuleType, n_columns: int, dtype: type) -> None:
    random = np.random.RandomState(n_columns)
    for n_rows in (1, 1000, cpu.CHUNK_ROWS, 5 * cpu.CHUNK_ROWS + 5):
        samples: npt.NDArray[np.floating] = (random.randint(0, 256, (n_rows, n_columns)) / 255).astype(dtype)
        found = implementation.column_means(torch.from_numpy(samples)).numpy()
        np.testing.assert_array_equal(found, samples.mean(axis=0))
        backward = samples[::-1]
        np.testing.assert_array_equal(ops.column_means(torch.from_numpy(backward.copy())), backward.copy().mean(axis=0))
