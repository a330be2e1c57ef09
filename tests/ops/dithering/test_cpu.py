"""The passes over dithered pixels and their twins in torch, against NumPy."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import needs_numba
from torch.utils._python_dispatch import TorchDispatchMode

from gpuquant.ops.dithering import cpu as cpu_dither
from gpuquant.ops.dithering import reference as torch_dither
from gpuquant.ops.dithering.reference import FIELD_BITS

MODULES = [pytest.param(cpu_dither, marks=needs_numba, id="compiled"), pytest.param(torch_dither, id="torch")]
WORDS = [torch.uint8, torch.uint16]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("columns", [1, 3, 4])
@pytest.mark.parametrize("shape", [(4, 4), (16, 64), (1, 300)])
@pytest.mark.parametrize("n_mixtures", [1, 200, 60_000, 70_000])
def test_a_mask_chooses_among_four(
    module: ModuleType, words: torch.dtype, columns: int, shape: tuple[int, int], n_mixtures: int
) -> None:
    random = np.random.RandomState(n_mixtures + columns)
    height, width, n_entries = 41, 137, 256 if words == torch.uint8 else 65_536
    palette = random.randint(0, 256, (n_entries, 3)).astype(np.uint8)
    lists = random.randint(0, n_entries, (n_mixtures, 4))
    slopes = random.randint(-300, 300, (n_mixtures, 3, 3))  # of the limits of three entries by red, green and blue
    limits_at_0 = np.sort(random.randint(1 << 18, 3 << 18, (n_mixtures, 3)), axis=1)
    slopes[: n_mixtures // 2], limits_at_0[: n_mixtures // 2] = 0, random.choice([1, 1 << 19], (n_mixtures // 2, 3))
    fields = np.concatenate([slopes, limits_at_0[:, :, None]], axis=2) << np.arange(0, 63, FIELD_BITS)[:, None]
    mixtures = np.column_stack([fields.sum(axis=1), (lists << np.arange(0, 64, 16)).sum(axis=1)])
    levels = random.randint(0, 1 << 20, shape)
    levels.flat[:3] = [0, 1 << 19, (1 << 20) - 1]
    mask = ((levels | 1 << 20)[:, :, None] << np.arange(0, 63, FIELD_BITS)).sum(axis=2)
    rows = random.randint(0, 256, (height, width, columns)).astype(np.uint8)
    numbers = random.randint(0, n_mixtures, (height, width))
    number_words = torch.uint8 if n_mixtures <= 256 else torch.uint16 if n_mixtures <= 1 << 16 else torch.int32
    labels, counts, total = torch.empty(height, width, dtype=words), np.zeros(n_entries, np.int64), 0
    for top in range(0, height, 9):
        part = slice(top, top + 9)
        given = torch.from_numpy(numbers[part]).to(torch.int32).to(number_words), torch.from_numpy(mixtures)
        more = torch.from_numpy(palette), torch.from_numpy(mask)
        tally = module.choose_entries(top, torch.from_numpy(rows[part]), *given, *more, labels[part])
        counts, total = counts + tally[0].numpy(), total + tally[1]
    seen = rows[:, :, [0, 0, 0] if columns == 1 else [0, 1, 2]].astype(np.int64)
    limits = (slopes[numbers] * seen[:, :, None]).sum(axis=3) + limits_at_0[numbers]
    repeated = np.tile(levels, (-(-height // shape[0]), -(-width // shape[1])))[:height, :width]
    expected = np.take_along_axis(lists[numbers], (limits <= repeated[:, :, None]).sum(axis=2)[:, :, None], axis=2)
    np.testing.assert_array_equal(labels.numpy(), expected[:, :, 0])
    np.testing.assert_array_equal(counts, np.bincount(expected.ravel(), minlength=n_entries))
    assert total == np.square(seen - palette[expected[:, :, 0]]).sum()


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
