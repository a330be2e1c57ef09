"""Labels that wait come back in their order, from memory or from a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuquant.images import label_file
from gpuquant.images.label_file import LabelFile


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("most_in_memory", [0, 1 << 20])
def test_strips_come_back(dtype: type, most_in_memory: int, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    strips: list[Any] = [draws.integers(0, 200, (height, 9)).astype(dtype) for height in (3, 1, 5)]
    waiting = LabelFile(tmp_path, sum(strip.nbytes for strip in strips), most_in_memory)
    for strip in strips:
        waiting.add(strip)
    found = list(waiting.strips())
    waiting.close()
    assert [strip.dtype for strip in found] == [dtype] * 3
    for one, other in zip(found, strips, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_is_taken_only_by_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(label_file, "TemporaryFile", lambda folder, n_bytes, task: made.append(n_bytes))
    LabelFile(tmp_path, 100, 100)
    assert made == []
    LabelFile(tmp_path, 101, 100)
    assert made == [101]
