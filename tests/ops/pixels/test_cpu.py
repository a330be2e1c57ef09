"""Counting and lookup: compiled loops and their twin in plain torch, against NumPy."""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant import ops, tensors
from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, colors_from_z_order, z_order
from gpuquant.ops.pixels import cpu as cpu_ops
from gpuquant.ops.pixels import cpu_counting, cpu_keys, cpu_tables
from gpuquant.ops.pixels import reference as torch_ops

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

both = pytest.mark.parametrize(
    "implementation", [pytest.param(cpu_ops, marks=needs_numba, id="compiled"), pytest.param(torch_ops, id="torch")]
)
gray_or_not = pytest.mark.parametrize("gray", [False, True])


def photo_like(n_pixels: int, *, gray: bool = False, seed: int = 0) -> Pixels:
    """Pixels with many repeated and a few single colors, black and white among them."""
    random = np.random.RandomState(seed)
    shape = (n_pixels,) if gray else (n_pixels, 3)
    pixels = random.normal(128, 30, shape).round().clip(0, 255).astype(np.uint8)
    if n_pixels:
        pixels[random.randint(0, n_pixels, n_pixels // 2)] = pixels[0]
    pixels[: n_pixels // 10] = 0
    pixels[n_pixels - n_pixels // 10 :] = 255
    return pixels


def numpy_keys(pixels: Pixels) -> Integers:
    """Bit b of red, green and blue at bits 3 b, 3 b + 1 and 3 b + 2."""
    colors = (pixels if pixels.ndim == 2 else np.repeat(pixels[:, None], 3, axis=1)).astype(np.int64)
    keys = np.zeros(len(colors), np.int64)
    for bit in range(8):
        for axis in range(3):
            keys |= (colors[:, axis] >> bit & 1) << (3 * bit + axis)
    return keys


def check_counts(counted: tuple[torch.Tensor, torch.Tensor], pixels: Pixels) -> None:
    keys, counts = np.unique(numpy_keys(pixels), return_counts=True)
    assert counted[0].dtype == torch.int32
    assert counted[1].dtype == torch.int64
    np.testing.assert_array_equal(counted[0].numpy(), keys)
    np.testing.assert_array_equal(counted[1].numpy(), counts)


def check_that_tables_are_clean() -> None:
    for tables in cpu_tables.kept_tables._free:
        assert not tables.bins.any()
        assert not tables.marks.any()


@pytest.fixture
def many_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every thread has a table, however few pixels there are; gives how many were swept each time."""
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
@pytest.mark.parametrize(("n_pixels", "at_once"), [(0, 9), (1, 9), (2, 1), (1000, 7), (50_001, 20_000)])
def test_colors_are_counted_exactly(
    implementation: ModuleType, gray: bool, n_pixels: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_counting if implementation is cpu_ops else implementation, "CHUNK_PIXELS", at_once)
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
        check_counts(cpu_ops.count_colors(torch.from_numpy(pixels)), pixels)
    assert many_tables == [min(n_threads, cpu_tables.N_TABLES)] * 3


@needs_numba
def test_every_word_and_bit_of_marks_is_swept(
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
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels)), pixels)
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
            n_full = cpu_counting._count_rows(rows, 0, len(rows), 1, 2, cpu_keys.SPREAD, bins, marks, full, n_full)
        assert n_full == 2 * n_tables
        keys, counts = cpu_counting._drain(tables, np.sort(full[:n_full]))
    check_counts((torch.from_numpy(keys), torch.from_numpy(counts)), np.concatenate(parts))
    check_that_tables_are_clean()


@needs_numba
@pytest.mark.parametrize("n_pixels", [255, 256, 257, 511, 512, 513, 65536, 100_000])
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

    cpu_ops.count_colors(torch.from_numpy(pixels))  # leaves tables to be kept
    with monkeypatch.context() as patched:
        patched.setattr(cpu_counting, "_count_rows", fail_late)
        with pytest.raises(MemoryError, match="no memory"):
            cpu_ops.count_colors(torch.from_numpy(pixels))
    assert begun.is_set()
    assert len(many_tables) == 1
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels)), pixels)


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
@settings(max_examples=25, deadline=None)
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
        with implementation.lookup_table(given_keys, given_values) as table:
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
    monkeypatch.setattr(cpu_ops, "FEW_PIXELS", 0)
    monkeypatch.setattr(cpu_ops, "CHUNK_PIXELS", 777)
    pixels = torch.from_numpy(photo_like(30_000))
    keys, _ = cpu_ops.count_colors(pixels)
    set_threads(n_threads)
    with cpu_ops.lookup_table(keys, keys) as table:
        found = cpu_ops.apply_lookup(pixels, table)
    np.testing.assert_array_equal(found.numpy(), numpy_keys(pixels.numpy()))


@needs_numba
def test_a_failing_chunk_fails_the_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: Pixels, start: int, *others: Any) -> None:
        raise MemoryError(f"no memory at {start}")

    keys = torch.zeros(1, dtype=torch.int32)
    with monkeypatch.context() as patched:
        patched.setattr(cpu_ops, "_look_up_rows", fail)
        with pytest.raises(MemoryError, match="no memory at"), cpu_ops.lookup_table(keys, keys + 7) as table:
            cpu_ops.apply_lookup(torch.zeros(100, 3, dtype=torch.uint8), table)
    check_that_tables_are_clean()


@gray_or_not
def test_pixels_are_ranked_by_the_place_of_their_key(gray: bool) -> None:
    pixels = photo_like(70_000, gray=gray)
    keys = np.random.RandomState(1).permutation(np.unique(numpy_keys(pixels))).astype(np.int32)
    ranks = ops.rank_pixels(torch.from_numpy(pixels), torch.from_numpy(keys))
    assert ranks.dtype == torch.int32
    np.testing.assert_array_equal(keys[ranks.numpy()], numpy_keys(pixels))


@needs_numba
def test_compiled_loops_and_torch_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuquant.ops import compiled, pixel_dispatch

    pixels = torch.zeros(1, 3, dtype=torch.uint8)
    assert pixel_dispatch._pixels_module(pixels) is cpu_ops
    monkeypatch.setattr(compiled, "has_numba", lambda: False)
    assert pixel_dispatch._pixels_module(pixels) is torch_ops


@both
@pytest.mark.parametrize("dtype", [torch.int32, torch.float64])
@pytest.mark.parametrize("n_pixels", [0, 1, 300_001])
def test_each_rank_takes_its_value(implementation: ModuleType, dtype: torch.dtype, n_pixels: int) -> None:
    random = np.random.RandomState(0)
    values, ranks = torch.from_numpy(random.normal(0, 99, 50)).to(dtype), random.randint(0, 50, n_pixels)
    given = torch.from_numpy(ranks).int()
    np.testing.assert_array_equal(implementation.take(values, given).numpy(), values.numpy()[ranks])
    if dtype == torch.int32:
        assert implementation.take(values, given, out=given) is given
        np.testing.assert_array_equal(given.numpy(), values.numpy()[ranks])


@both
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_are_rounded_as_numpy_rounds_them(implementation: ModuleType, n_columns: int, dtype: type) -> None:
    random = np.random.RandomState(n_columns)
    for n_rows in (1, 1000, cpu_ops.CHUNK_PIXELS, 3 * cpu_ops.CHUNK_PIXELS + 5):
        samples: npt.NDArray[np.floating] = (random.randint(0, 256, (n_rows, n_columns)) / 255).astype(dtype)
        found = implementation.column_means(torch.from_numpy(samples)).numpy()
        np.testing.assert_array_equal(found, samples.mean(axis=0))
        backward = samples[::-1]
        np.testing.assert_array_equal(ops.column_means(torch.from_numpy(backward.copy())), backward.copy().mean(axis=0))


@both
@pytest.mark.parametrize("n_colors", [0, 1, 5001])
def test_keys_and_colors_are_each_others_inverse(implementation: ModuleType, n_colors: int) -> None:
    colors = photo_like(n_colors)
    keys = implementation.keys_from_colors(torch.from_numpy(colors))
    assert keys.dtype == torch.int32
    np.testing.assert_array_equal(keys.numpy(), numpy_keys(colors))
    np.testing.assert_array_equal(implementation.colors_from_keys(keys).numpy(), colors)


@needs_numba
def test_all_keys_come_back() -> None:
    keys = torch.arange(N_CODES, dtype=torch.int32)
    assert torch.equal(z_order(colors_from_z_order(keys)), keys)
    assert torch.equal(cpu_ops.keys_from_colors(cpu_ops.colors_from_keys(keys)), keys)


def test_codes_come_back_as_the_same_colors() -> None:
    colors = torch.from_numpy(photo_like(5000))
    assert torch.equal(colors_from_codes(codes_from_colors(colors)), colors)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_sums_of_integers_do_not_depend_on_the_order(scale: float) -> None:
    random = np.random.RandomState(0)
    bins, values = random.randint(0, 40, 10_000), scale * random.normal(0, 1, 10_000)
    order = random.permutation(10_000)
    found, shuffled = (
        tensors._sums_of_integers(torch.from_numpy(bins[places]).int(), torch.from_numpy(values[places]), 41)
        for places in (np.arange(10_000), order)
    )
    assert torch.equal(found, shuffled)
    np.testing.assert_allclose(found, np.bincount(bins, values, 41), rtol=1e-9, atol=1e-12 * scale)
    whole = torch.from_numpy(random.randint(0, 2**20, 10_000)).double()
    exact = tensors._sums_of_integers(torch.from_numpy(bins), whole, 41)
    np.testing.assert_array_equal(exact, np.bincount(bins, whole.numpy(), 41))
    assert tensors._sums_of_integers(torch.zeros(3).int(), torch.zeros(3).double(), 1).tolist() == [0]
