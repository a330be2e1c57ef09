"""The entries of each cell of the color cube, against all distances."""

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Pixels, needs_numba

from gpuquant.ops.dithering.cpu_nearest import nearest_in_cells

pytestmark = needs_numba


def palette_of(n_colors: int, spread: float) -> Pixels:
    palette = 60 + spread * np.random.default_rng(0).integers(0, 192, (n_colors, 3))
    palette[n_colors // 2] = palette[0]  # twice there
    return palette.astype(np.uint8)


def entries_of(
    record: int,
    further: npt.NDArray[np.uint16],
) -> list[int]:
    first, second, place = record & 0xFFFF, record >> 16 & 0xFFFF, record >> 32
    more = further[place + 1 : place + 1 + int(further[place])] if place else further[:0]
    return [first, second, *more.tolist()] if second != first else [first]


@pytest.mark.parametrize(
    ("n_colors", "spread"),
    [(1, 1.0), (2, 1.0), (3, 0.1), (16, 1.0), (256, 0.3), (600, 1.0), (3000, 0.2), (65_536, 1.0)],
)
def test_the_first_of_the_nearest_is_listed_first(n_colors: int, spread: float) -> None:
    palette, random = palette_of(n_colors, spread), np.random.default_rng(1)
    allowed = np.arange(n_colors) if n_colors < 3 else np.flatnonzero(random.random(n_colors) < 0.8)
    records, further = nearest_in_cells(palette, allowed)
    lengths = []
    for color in random.integers(0, 256, (300, 3)):
        cell = int(color[0] >> 3 | color[1] >> 3 << 5 | color[2] >> 3 << 10)
        listed = entries_of(int(records[cell]), further)
        assert listed == sorted(set(listed))
        assert len(np.unique(palette[listed], axis=0)) == len(listed)
        apart = np.square(palette.astype(np.int64) - color).sum(axis=1)
        nearest = allowed[apart[allowed].argmin()]
        assert listed[int(apart[listed].argmin())] == nearest
        lengths.append(len(listed))
    assert np.mean(lengths) < 3 + n_colors**0.5  # few are left


def test_entries_around_a_cell_are_all_listed() -> None:
    """A cell in the middle of a sphere of entries, and one beside one of two."""
    ways = np.random.default_rng(0).normal(size=(500, 3))
    sphere = np.unique((127.5 + 100 * ways / np.linalg.norm(ways, axis=1, keepdims=True)).astype(np.uint8), axis=0)
    records, further = nearest_in_cells(sphere, np.arange(len(sphere)))
    assert len(entries_of(int(records[15 | 15 << 5 | 15 << 10]), further)) > 200
    ends = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    records, further = nearest_in_cells(ends, np.arange(2))
    assert [entries_of(int(records[at | at << 5 | at << 10]), further) for at in (0, 15, 16, 31)] == [
        [0],
        [0],
        [1],
        [1],
    ]
