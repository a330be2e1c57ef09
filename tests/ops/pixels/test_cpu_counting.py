"""Counting: compiled loops and their twin in plain torch, against NumPy."""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_oracles import both, check_that_tables_are_clean, gray_or_not, numpy_keys, photo_like

from gpuquant import tensors
from gpuquant.ops.pixels import cpu_counting, cpu_tables, reference


def check_counts(counted: tuple[torch.Tensor, torch.Tensor], pixels: Pixels) -> None:
    keys, counts = np.unique(numpy_keys(pixels), return_counts=True)
    assert counted[0].dtype == torch.int32
    assert counted[1].dtype == torch.int64
    np.testing.assert_array_equal(counted[0].numpy(), keys)
    np.testing.assert_array_equal(counted[1].numpy(), counts)


@pytest.fixture
def many_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every thread has a table, however few pixels there are; gives how many were swept each time."""
    monkeypatch.setattr(cpu_counting, "FEW_PIXELS", 0)
    monkeypatch.setattr(cpu_counting, "PIXELS_A_TABLE", 1)
    swept: list[int] = []
    original = cpu_counting._drain

    def spy(tables: Any, full: Any) -> Any:
        swept.append(len(tables.bins))
        return original(tables, full)

    monkeypatch.setattr(cpu_counting, "_drain", spy)
    yield swept
    check_that_tables_are_clean()


@both
@gray_or_not
@pytest.mark.parametrize(("n_pixels", "at_once"), [(0, 9), (1, 9), (2, 1), (1000, 9), (1001, 7), (50_001, 20_000)])
def test_colors_are_counted_exactly(
    implementation: ModuleType, gray: bool, n_pixels: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cpu_counting, reference):
        monkeypatch.setattr(module, "CHUNK_PIXELS", at_once)
        monkeypatch.setattr(module, "FEW_PIXELS", 1000)
    monkeypatch.setattr(reference, "MOST_PIXELS", 30_000)
    pixels = photo_like(n_pixels, gray=gray)
    for _ in range(2):  # what the first call leaves behind is clean
        check_counts(implementation.count_colors(torch.from_numpy(pixels)), pixels)
    check_that_tables_are_clean()


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2, 3, 6])
@pytest.mark.parametrize("at_once", [997, cpu_counting.CHUNK_PIXELS])
def test_chunks_and_threads_change_no_count(
    many_tables: list[int],
    set_threads: Callable[[int], None],
    n_threads: int,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_counting, "CHUNK_PIXELS", at_once)
    set_threads(n_threads)
    for seed, gray in ((0, False), (1, False), (2, True)):
        pixels = photo_like(140_000, gray=gray, seed=seed)
        check_counts(cpu_counting.count_colors(torch.from_numpy(pixels)), pixels)
    assert many_tables == [min(n_threads, cpu_tables.N_TABLES)] * 3


@needs_numba
def test_every_line_and_bin_is_swept(
    many_tables: list[int], set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All levels of a channel with the ends of the others, each twice, so that both threads see them."""
    set_threads(2)
    ends = np.array([(low, high) for low in (0, 255) for high in (0, 255)])
    pixels = np.concatenate(
        [np.insert(np.repeat(ends, 256, axis=0), axis, np.tile(np.arange(256), 4), axis=1) for axis in range(3)]
    ).astype(np.uint8)
    monkeypatch.setattr(cpu_counting, "CHUNK_PIXELS", len(pixels))
    pixels = np.concatenate([pixels, pixels])
    check_counts(cpu_counting.count_colors(torch.from_numpy(pixels)), pixels)
    assert many_tables == [2]


@needs_numba
@pytest.mark.parametrize("n_tables", [1, 2, 4])
def test_tables_are_added_where_several_have_a_color(n_tables: int) -> None:
    """Of colors that all have, and of some that one has; bins that are full at the end, or were full before."""
    random = np.random.RandomState(n_tables)
    shared = np.array([[1, 2, 3], [255, 255, 255], [0, 0, 0]], np.uint8)
    parts = [
        np.concatenate([shared.repeat((256, 300, 1 + table), axis=0), random.randint(0, 9, (50, 3)).astype(np.uint8)])
        for table in range(n_tables)
    ]
    full = np.empty(99, np.int32)
    n_full = 0
    with cpu_tables.kept_tables.borrow() as kept:
        tables = cpu_tables.Tables(kept.bins[:n_tables], kept.marks[:n_tables])
        for rows, bins, marks in zip(parts, *tables, strict=True):
            given = rows, 0, len(rows), 1, 2
            n_full = cpu_counting._count_rows(*given, bins, marks, full, n_full)
        assert n_full == 2 * n_tables
        keys, counts = cpu_counting._drain(tables, np.sort(full[:n_full]))
    check_counts((torch.from_numpy(keys), torch.from_numpy(counts)), np.concatenate(parts))
    check_that_tables_are_clean()


@needs_numba
@pytest.mark.parametrize("n_pixels", [254, 255, 256, 257, 509, 510, 511, 512, 65536, 100_000])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_more_pixels_of_a_color_than_a_bin_holds_are_counted(
    many_tables: list[int],
    set_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    n_pixels: int,
    n_threads: int,
) -> None:
    monkeypatch.setattr(cpu_counting, "CHUNK_PIXELS", 301)
    set_threads(n_threads)
    for others in (0, 1, 5):
        pixels = np.concatenate(
            [np.full((n_pixels, 3), 7, np.uint8), np.arange(3 * others, dtype=np.uint8).reshape(-1, 3)]
        )
        check_counts(cpu_counting.count_colors(torch.from_numpy(pixels)), pixels)
    assert many_tables == [n_threads] * 3


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2])
def test_counting_is_exact_after_a_failure_half_way(
    monkeypatch: pytest.MonkeyPatch, many_tables: list[int], set_threads: Callable[[int], None], n_threads: int
) -> None:
    pixels = photo_like(5000)
    monkeypatch.setattr(cpu_counting, "CHUNK_PIXELS", 1000)
    set_threads(n_threads)
    intact, begun = cpu_counting._count_rows, threading.Event()

    def fail_late(rows: Pixels, start: int, *others: Any) -> int:
        if start >= 3000:
            raise MemoryError("no memory")
        n_full: int = intact(rows, start, *others)
        begun.set()
        return n_full

    cpu_counting.count_colors(torch.from_numpy(pixels))  # leaves tables to be kept
    with monkeypatch.context() as patched:
        patched.setattr(cpu_counting, "_count_rows", fail_late)
        with pytest.raises(MemoryError, match="no memory"):
            cpu_counting.count_colors(torch.from_numpy(pixels))
    assert begun.is_set()
    assert len(many_tables) == 1
    check_counts(cpu_counting.count_colors(torch.from_numpy(pixels)), pixels)


@both
def test_the_ends_of_the_color_cube_are_counted(implementation: ModuleType) -> None:
    pixels = np.array([[255, 255, 255], [0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8)
    keys, counts = implementation.count_colors(torch.from_numpy(pixels))
    assert keys.tolist() == [0, 0o11111111, 0o44444444, 0o77777777]
    assert counts.tolist() == [1, 1, 1, 2]


@both
def test_read_only_pixels_are_counted_without_a_copy(implementation: ModuleType) -> None:
    pixels = photo_like(1000)
    pixels.setflags(write=False)
    tensor = tensors.shared_tensor(pixels)
    assert tensor.data_ptr() == pixels.ctypes.data
    check_counts(implementation.count_colors(tensor), pixels)


@both
def test_counts_add_up(implementation: ModuleType) -> None:
    parts = [([5, 9], [1, 2]), ([3, 9], [7, 2**40]), ([], []), ([1, 3, 11], [1, 1, 1])]
    tensors_of_parts = [(torch.tensor(keys, dtype=torch.int32), torch.tensor(counts).long()) for keys, counts in parts]
    keys, counts = implementation.add_counts(tensors_of_parts)
    assert (keys.dtype, counts.dtype) == (torch.int32, torch.int64)
    assert keys.tolist() == [1, 3, 5, 9, 11]
    assert counts.tolist() == [1, 8, 1, 2**40 + 2, 1]
    assert [part.tolist() for part in implementation.add_counts(tensors_of_parts[2:3])] == [[], []]


@both
@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=60), st.integers(0, 60))
def test_counts_of_parts_add_up_to_the_counts_of_all(
    implementation: ModuleType, colors: list[tuple[int, int, int]], cut: int
) -> None:
    pixels = torch.tensor(colors, dtype=torch.uint8)
    together = implementation.count_colors(pixels)
    check_counts(together, pixels.numpy())
    added = implementation.add_counts([implementation.count_colors(part) for part in (pixels[:cut], pixels[cut:])])
    assert torch.equal(added[0], together[0])
    assert torch.equal(added[1], together[1])
