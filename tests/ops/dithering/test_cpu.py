"""The passes over dithered pixels and their twins in torch, against NumPy."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import needs_numba
from torch.utils._python_dispatch import TorchDispatchMode

from gpuquant.colors.codes import z_order
from gpuquant.ops.dithering import cpu as cpu_dither
from gpuquant.ops.dithering import reference as torch_dither
from gpuquant.ops.pixels import cpu as pixels_cpu
from gpuquant.ops.pixels import reference as pixels_reference

MODULES = [pytest.param(cpu_dither, marks=needs_numba, id="compiled"), pytest.param(torch_dither, id="torch")]
WORDS = [torch.uint8, torch.uint16]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("columns", [1, 3, 4])
@pytest.mark.parametrize("side", [4, 128])
@pytest.mark.parametrize("some_kept", [False, True])
def test_a_mask_chooses_among_four(
    module: ModuleType, words: torch.dtype, columns: int, side: int, some_kept: bool
) -> None:
    random = np.random.RandomState(side)
    height, width, n_colors, n_lists, n_levels = 41, 137, 20, 300, side**2
    n_entries = 256 if words == torch.uint8 else 65_536
    colors = random.permutation(256)[: 4 * n_colors].reshape(n_colors, 4)[:, [0, 0, 0] if columns == 1 else [0, 1, 2]]
    palette = random.randint(0, 256, (n_entries, 3)).astype(np.uint8)
    lists = random.randint(0, n_entries, (n_lists, 4))
    of_color = random.randint(0, n_lists, n_colors)
    of_color[0] = n_lists - 1
    limits = np.sort(random.randint(0, n_levels + 1, (n_colors, 3)), axis=1)
    limits[:4] = np.array([[0, 0, 0], [4, 4, 4], [2, 2, 2], [0, 2, 4]]) * n_levels // 4
    n_bits = n_levels.bit_length()
    records = limits @ (1 << np.arange(0, 3 * n_bits, n_bits)) | of_color << 3 * n_bits
    mask = random.permutation(n_levels).reshape(side, side).astype(np.int16)
    ranks = random.randint(0, n_colors, (height, width))
    rows = np.concatenate([colors[ranks], random.randint(0, 256, (height, width, 1))], axis=2)[:, :, :columns]
    kept = np.where(random.randint(0, 3, (height, width)) > 0, -1, random.randint(0, n_entries, (height, width)))
    labels = torch.empty(height, width, dtype=words)
    lookup = (pixels_cpu if module is cpu_dither else pixels_reference).lookup_table
    total = 0
    with lookup(z_order(torch.from_numpy(colors.astype(np.uint8))), torch.from_numpy(records)) as table:
        given = table, *(torch.from_numpy(part) for part in (lists, palette, mask)), n_levels
        for top in range(0, height, 9):
            part = slice(top, top + 9)
            stands = torch.from_numpy(kept[part].astype(np.int32)) if some_kept else None
            seen = torch.from_numpy(rows[part].astype(np.uint8))
            total += module.choose_entries(top, seen, stands, *given, labels[part])
    levels = np.tile(mask, (-(-height // side), -(-width // side)))[:height, :width]
    places = (limits[ranks] <= levels[:, :, None]).sum(axis=2)
    expected = lists[of_color[ranks], places]
    moves = np.full(ranks.shape, not some_kept) | (kept < 0)
    expected = np.where(moves, expected, kept)
    np.testing.assert_array_equal(labels.numpy(), expected)
    assert total == np.square(colors[ranks] - palette[expected].astype(int)).sum(axis=2)[moves].sum()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (31, 7), (1, 0)])
def test_labels_are_counted(module: ModuleType, words: torch.dtype, shape: tuple[int, int]) -> None:
    n_entries = 200 if words == torch.uint8 else 60_000
    labels = np.random.RandomState(0).randint(0, n_entries, shape)
    counts = module.count_labels(torch.from_numpy(labels).to(torch.int32).to(words), n_entries)
    np.testing.assert_array_equal(counts.numpy(), np.bincount(labels.ravel(), minlength=n_entries))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
def test_labels_get_other_numbers(module: ModuleType, words: torch.dtype) -> None:
    n_colors = 200 if words == torch.uint8 else 60_000
    numbers = torch.from_numpy(np.random.RandomState(0).permutation(n_colors))
    before = torch.from_numpy(np.random.RandomState(1).randint(0, n_colors, (31, 7)))
    labels = before.to(torch.int32).to(words)
    module.renumber(labels, numbers)
    np.testing.assert_array_equal(labels.numpy(), numbers[before].numpy())


class Operations(TorchDispatchMode):
    """Counts what torch is asked for: on a device about a launch each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_asked = 0

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n_asked += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (97, 31)])
def test_rows_are_renumbered_together_on_a_device(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    labels, numbers = torch.zeros(shape, dtype=torch.uint8), torch.arange(256).flip(0)
    with Operations() as once:
        torch_dither.renumber(labels, numbers)
    assert bool((labels == 255).all())
    assert once.n_asked < 12
    monkeypatch.setattr(torch_dither, "AT_ONCE", 500)
    torch_dither.renumber(labels, numbers)
    assert bool((labels == 0).all())
