"""Counting and lookup: the threaded CPU path and its torch twin against NumPy."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant import ops, tensors
from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, z_order
from gpuquant.ops.pixels import cpu as cpu_ops
from gpuquant.ops.pixels import reference as torch_ops

Pixels = npt.NDArray[np.uint8]
Calls = list[tuple[int, int]]


def photo_like(n_pixels: int, *, gray: bool = False, seed: int = 0) -> Pixels:
    """Pixels with many repeated and a few single colors, black and white among them."""
    random = np.random.RandomState(seed)
    shape = (n_pixels,) if gray else (n_pixels, 3)
    pixels = random.normal(128, 30, shape).round().clip(0, 255).astype(np.uint8)
    pixels[random.randint(0, n_pixels, n_pixels // 2)] = pixels[0]
    pixels[: n_pixels // 10] = 0
    pixels[n_pixels - n_pixels // 10 :] = 255
    return pixels


def numpy_codes(pixels: Pixels) -> npt.NDArray[np.int64]:
    wide = pixels.astype(np.int64)
    return wide * 65793 if pixels.ndim == 1 else wide @ np.array([1, 256, 65536])


def check_counts(counted: tuple[torch.Tensor, torch.Tensor], pixels: Pixels) -> None:
    codes, counts = np.unique(numpy_codes(pixels), return_counts=True)
    assert counted[0].dtype == torch.int32
    assert counted[1].dtype == torch.int64
    np.testing.assert_array_equal(counted[0].numpy(), codes)
    np.testing.assert_array_equal(counted[1].numpy(), counts)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The runs of pixels that the CPU path packs: one per chunk through the tables, a single one when it sorts."""
    calls: Calls = []
    original = cpu_ops.pack_pixels

    def spy(pixels: Pixels, start: int, stop: int) -> npt.NDArray[np.int32]:
        calls.append((start, stop))
        return original(pixels, start, stop)

    monkeypatch.setattr(cpu_ops, "pack_pixels", spy)
    return calls


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, packed: Calls) -> Calls:
    """Small inputs go through the tables, too; gives the chunks that did."""
    monkeypatch.setattr(cpu_ops, "SORT_LIMIT", 0)
    return packed


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("n_pixels", [1, 2, 3, 1000, 50_001])
def test_few_pixels_are_counted_by_sorting(packed: Calls, n_pixels: int, gray: bool) -> None:
    pixels = photo_like(n_pixels, gray=gray)
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=10), pixels)
    assert packed == [(0, n_pixels)]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("n_pixels", [1, 50_001])
def test_tables_count_exactly(tables: Calls, n_pixels: int, gray: bool) -> None:
    pixels = photo_like(n_pixels, gray=gray)
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=20_000), pixels)
    starts = range(0, n_pixels, 20_000)
    assert sorted(tables) == [(start, min(start + 20_000, n_pixels)) for start in starts]


def test_many_pixels_go_through_the_tables_by_themselves(packed: Calls) -> None:
    pixels = photo_like(cpu_ops.SORT_LIMIT)
    check_counts(ops.count_colors(torch.from_numpy(pixels)), pixels)
    assert len(packed) == -(-len(pixels) // cpu_ops.CHUNK_PIXELS)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 6])
@pytest.mark.parametrize("chunk_size", [997, None])
def test_chunks_and_threads_change_no_count(
    tables: Calls, set_threads: Callable[[int], None], n_threads: int, chunk_size: int | None
) -> None:
    pixels = photo_like(140_000)
    set_threads(n_threads)
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=chunk_size), pixels)
    assert len(tables) == -(-len(pixels) // (chunk_size or cpu_ops.CHUNK_PIXELS))


def test_kept_tables_come_back_zeroed(tables: Calls, set_threads: Callable[[int], None]) -> None:
    for n_threads, seed in [(2, 0), (2, 1), (1, 2), (3, 3), (2, 4)]:
        set_threads(n_threads)
        pixels = photo_like(5000, seed=seed, gray=seed == 4)
        check_counts(cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=1000), pixels)
    assert len(tables) == 25


@pytest.mark.parametrize("n_threads", [1, 2])
def test_counting_is_exact_after_a_failure_half_way(
    monkeypatch: pytest.MonkeyPatch, tables: Calls, set_threads: Callable[[int], None], n_threads: int
) -> None:
    pixels = photo_like(5000)
    set_threads(n_threads)
    intact = cpu_ops.pack_pixels

    def fail_late(pixels: Pixels, start: int, stop: int) -> npt.NDArray[np.int32]:
        if start >= 3000:
            raise MemoryError("no memory for codes")
        return intact(pixels, start, stop)

    cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=1000)  # leaves tables to be kept
    with monkeypatch.context() as patched:
        patched.setattr(cpu_ops, "pack_pixels", fail_late)
        with pytest.raises(MemoryError, match="no memory for codes"):
            cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=1000)
    assert (2000, 3000) in tables
    check_counts(cpu_ops.count_colors(torch.from_numpy(pixels), chunk_size=1000), pixels)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 1, 300])
def test_torch_twin_counts_exactly(gray: bool, chunk_size: int | None) -> None:
    pixels = photo_like(1000, gray=gray)
    check_counts(torch_ops.count_colors(torch.from_numpy(pixels), chunk_size=chunk_size), pixels)


def test_the_ends_of_the_code_range_are_counted(tables: Calls) -> None:
    pixels = np.array([[255, 255, 255], [0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]], np.uint8)
    codes, counts = cpu_ops.count_colors(torch.from_numpy(pixels))
    assert codes.tolist() == [0, 0x0000FF, 0xFF0000, 0xFFFFFF]
    assert counts.tolist() == [1, 1, 1, 2]
    assert tables == [(0, 5)]


@pytest.mark.parametrize("n_pixels", [1, 2, 5])
def test_every_run_of_pixels_packs_to_its_codes(n_pixels: int) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (n_pixels, 3)).astype(np.uint8)
    expected = numpy_codes(pixels)
    for start in range(n_pixels):
        for stop in range(start + 1, n_pixels + 1):
            codes = cpu_ops.pack_pixels(pixels, start, stop)
            assert codes.dtype == np.int32
            assert codes.tolist() == expected[start:stop].tolist()
    assert torch_ops.pack_pixels(torch.from_numpy(pixels)).tolist() == expected.tolist()


def test_packing_reads_nothing_behind_the_last_pixel() -> None:
    memory = np.full(3 * 4 + 1, 255, np.uint8)
    memory[:12] = 7
    pixels = memory[:12].reshape(4, 3)
    assert cpu_ops.pack_pixels(pixels, 0, 4).tolist() == [0x070707] * 4
    assert cpu_ops.pack_pixels(pixels, 3, 4).tolist() == [0x070707]


def test_gray_pixels_pack_as_three_equal_levels() -> None:
    gray = np.arange(256, dtype=np.uint8)
    expected = numpy_codes(np.stack([gray] * 3, axis=1)).tolist()
    assert cpu_ops.pack_pixels(gray, 0, 256).tolist() == expected
    assert torch_ops.pack_pixels(torch.from_numpy(gray)).tolist() == expected


def test_counts_add_up() -> None:
    first = torch.tensor([5, 9], dtype=torch.int32), torch.tensor([1, 2])
    second = torch.tensor([9, 3], dtype=torch.int32), torch.tensor([2**40, 7])
    codes, counts = ops.add_counts([first, second])
    assert codes.tolist() == [3, 5, 9]
    assert counts.tolist() == [7, 1, 2**40 + 2]


@pytest.fixture(scope="module", params=["uint8", "uint16"])
def lookup_table(request: pytest.FixtureRequest) -> npt.NDArray[np.uint8 | np.uint16]:
    random = np.random.RandomState(1)
    table: npt.NDArray[np.uint8 | np.uint16] = np.frombuffer(random.bytes(2 * N_CODES), request.param)[:N_CODES].copy()
    return table


@pytest.mark.parametrize("implementation", [ops, cpu_ops, torch_ops])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(("n_pixels", "chunk_size"), [(1, None), (2, 1), (10_001, 1000), (200_003, None)])
def test_lookup_gives_every_pixel_its_entry(
    lookup_table: npt.NDArray[np.uint8 | np.uint16],
    implementation: ModuleType,
    gray: bool,
    n_pixels: int,
    chunk_size: int | None,
) -> None:
    pixels = photo_like(n_pixels, gray=gray)
    table = torch.from_numpy(lookup_table)
    labels = implementation.apply_lookup(torch.from_numpy(pixels), table, chunk_size=chunk_size)
    assert labels.dtype == table.dtype
    np.testing.assert_array_equal(labels.numpy(), lookup_table[numpy_codes(pixels)])


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_change_no_lookup(
    lookup_table: npt.NDArray[np.uint8 | np.uint16], set_threads: Callable[[int], None], n_threads: int
) -> None:
    pixels = photo_like(30_000)
    set_threads(n_threads)
    labels = cpu_ops.apply_lookup(torch.from_numpy(pixels), torch.from_numpy(lookup_table), chunk_size=777)
    np.testing.assert_array_equal(labels.numpy(), lookup_table[numpy_codes(pixels)])


def test_a_failing_chunk_fails_the_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pixels: Pixels, start: int, stop: int) -> npt.NDArray[np.int32]:
        raise MemoryError(f"no memory for {start}:{stop}")

    monkeypatch.setattr(cpu_ops, "pack_pixels", fail)
    table = torch.zeros(N_CODES, dtype=torch.uint8)
    with pytest.raises(MemoryError, match="no memory for"):
        cpu_ops.apply_lookup(torch.zeros(100, 3, dtype=torch.uint8), table, chunk_size=10)


def test_codes_come_back_as_the_same_colors() -> None:
    colors = torch.from_numpy(photo_like(5000))
    assert torch.equal(colors_from_codes(codes_from_colors(colors)), colors)


def test_z_order_interleaves_the_bits() -> None:
    colors = photo_like(300)
    expected = [
        sum(((int(level) >> bit) & 1) << (3 * bit + axis) for bit in range(8) for axis, level in enumerate(color))
        for color in colors
    ]
    assert z_order(torch.from_numpy(colors)).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=60), st.integers(0, 60))
def test_counts_of_parts_add_up_to_the_counts_of_all(colors: list[tuple[int, int, int]], cut: int) -> None:
    pixels = torch.tensor(colors, dtype=torch.uint8)
    together = ops.count_colors(pixels)
    assert int(together[1].sum()) == len(pixels)
    parts = [ops.count_colors(part) for part in (pixels[:cut], pixels[cut:]) if len(part)]
    added = ops.add_counts(parts)
    assert torch.equal(added[0], together[0])
    assert torch.equal(added[1], together[1])


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("n_pixels", [1, 5000, 300_001])
def test_used_codes_are_the_distinct_ones(gray: bool, n_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_ops, "SORT_LIMIT", 1 << 14)
    pixels = photo_like(n_pixels, gray=gray)
    pixels[-1] = 255  # the last bin
    codes = ops.used_codes(torch.from_numpy(pixels))
    assert codes.dtype == torch.int32
    np.testing.assert_array_equal(codes.numpy(), np.unique(numpy_codes(pixels)))


@pytest.mark.parametrize("gray", [False, True])
def test_pixels_are_ranked_by_the_place_of_their_code(gray: bool) -> None:
    pixels = photo_like(70_000, gray=gray)
    codes = np.random.RandomState(1).permutation(np.unique(numpy_codes(pixels))).astype(np.int32)
    for _ in range(2):  # the table that the first call leaves behind is clean
        ranks = ops.rank_pixels(torch.from_numpy(pixels), torch.from_numpy(codes))
        assert ranks.dtype == torch.int32
        np.testing.assert_array_equal(codes[ranks.numpy()], numpy_codes(pixels))
    twin = torch_ops.apply_lookup(torch.from_numpy(pixels), torch_ops.rank_table(torch.from_numpy(codes)))
    assert torch.equal(twin, ranks)
    with cpu_ops._tables.borrow(1) as (table,):
        assert not table.any()


@pytest.mark.parametrize("n_columns", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_are_rounded_as_numpy_rounds_them(n_columns: int, dtype: type) -> None:
    random = np.random.RandomState(n_columns)
    for n_rows in (1, 1000, cpu_ops.CHUNK_PIXELS, 3 * cpu_ops.CHUNK_PIXELS + 5):
        samples: npt.NDArray[np.floating] = (random.randint(0, 256, (n_rows, n_columns)) / 255).astype(dtype)
        np.testing.assert_array_equal(cpu_ops.column_means(torch.from_numpy(samples)).numpy(), samples.mean(axis=0))


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
