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

MODULES = [pytest.param(cpu_dither, marks=needs_numba, id="compiled"), pytest.param(torch_dither, id="torch")]
WORDS = [torch.uint8, torch.uint16]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
def test_a_mask_chooses_among_four(module: ModuleType, words: torch.dtype) -> None:
    random = np.random.RandomState(0)
    height, width, n_colors = 41, 37, 20
    n_entries = 256 if words == torch.uint8 else 65_536
    ranks = random.randint(0, n_colors, (height, width)).astype(np.int32)
    entries = random.randint(0, n_entries, (n_colors, 4))
    limits = np.sort(random.randint(0, 17, (n_colors, 3)), axis=1)
    limits[:4] = [[0, 0, 0], [16, 16, 16], [8, 8, 8], [0, 8, 16]]
    errors = random.randint(0, 3 * 255**2 + 1, (n_colors, 4))
    mixtures = np.empty((n_colors, 8), np.int32)
    mixtures[:, :4] = errors
    mixtures.view(np.int16)[:, 8:12] = entries.astype(np.uint16).view(np.int16)
    mixtures.view(np.int16)[:, 12:15] = limits
    mask = random.permutation(16).reshape(4, 4).astype(np.int16)
    labels = torch.empty(height, width, dtype=words)
    counts, total = torch.zeros(n_entries, dtype=torch.int64), 0
    for top in range(0, height, 9):
        given = torch.from_numpy(ranks[top : top + 9]), torch.from_numpy(mixtures), torch.from_numpy(mask)
        n_part, error = module.choose_entries(top, *given, n_entries, labels[top : top + 9])
        counts, total = counts + n_part, total + error
    levels = np.tile(mask, (11, 10))[:height, :width]
    places = np.array(
        [
            [next((n for n in range(3) if limits[c, n] > level), 3) for c, level in zip(*row, strict=True)]
            for row in zip(ranks, levels, strict=True)
        ]
    )
    np.testing.assert_array_equal(labels.numpy(), entries[ranks, places])
    np.testing.assert_array_equal(counts.numpy(), np.bincount(entries[ranks, places].ravel(), minlength=n_entries))
    assert total == errors[ranks, places].sum()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("words", WORDS)
def test_labels_get_other_numbers(module: ModuleType, words: torch.dtype) -> None:
    n_colors = 256 if words == torch.uint8 else 60_000
    numbers = torch.from_numpy(np.random.RandomState(0).permutation(n_colors))
    before = torch.from_numpy(np.random.RandomState(1).randint(0, n_colors, (30, 7)))
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
