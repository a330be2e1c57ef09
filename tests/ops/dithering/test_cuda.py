"""Ordered dithering as a kernel, in Triton's interpreter (on a CUDA device where there is one), against its twin."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from gpuquant.ops import pixel_dispatch
from gpuquant.ops.dithering import cuda, reference
from gpuquant.ops.dithering.reference import FIELD_BITS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FIELDS = np.arange(0, 63, FIELD_BITS)

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


@pytest.mark.parametrize(
    ("columns", "n_mixtures", "n_entries", "shape"),
    [(3, 200, 8, (4, 4)), (1, 300, 300, (16, 64)), (4, 70_000, 65_536, (1, 300)), (3, 60_000, 256, (128, 512))],
)
def test_the_kernel_chooses_as_its_twin(columns: int, n_mixtures: int, n_entries: int, shape: tuple[int, int]) -> None:
    """Numbers of one, two and four bytes, labels of one and two, rows from the second on that fill no whole block."""
    random = np.random.RandomState(columns + n_mixtures)
    height, width = 7, 300
    fields = random.randint(-300, 300, (n_mixtures, 3, 4))
    fields[:, :, 3] = np.sort(random.randint(1 << 18, 3 << 18, (n_mixtures, 3)), axis=1)
    lists = random.randint(0, n_entries, (n_mixtures, 4)) << np.arange(0, 64, 16)
    mixtures = np.column_stack([(fields << FIELDS[:, None]).sum(axis=1), lists.sum(axis=1)])
    levels = random.randint(0, 1 << 20, shape) | 1 << 20
    mask = (levels[:, :, None] << FIELDS).sum(axis=2)
    palette = random.randint(0, 256, (n_entries, 3)).astype(np.uint8)
    rows = random.randint(0, 256, (height, width, columns)).astype(np.uint8)
    kind = torch.uint8 if n_mixtures <= 256 else torch.uint16 if n_mixtures <= 1 << 16 else torch.int32
    numbers = torch.from_numpy(random.randint(0, n_mixtures, (height, width)).astype(np.int32)).to(kind)
    forms, entries, thresholds = map(torch.from_numpy, (mixtures, palette, mask))
    given = torch.from_numpy(rows)[1:], numbers[1:], forms, entries, thresholds
    words = torch.uint8 if n_entries <= 256 else torch.uint16
    expected = torch.zeros(height, width, dtype=words)
    found = expected.to(DEVICE)
    counts, error = reference.choose_entries(5, *given, expected[1:])
    on_device: Any = [*(one.to(DEVICE) for one in given), found[1:]]
    tally = cuda.choose_entries(5, *on_device)
    np.testing.assert_array_equal(found.cpu().numpy(), expected.numpy())
    np.testing.assert_array_equal(tally[0].cpu().numpy(), counts.numpy())
    assert tally[0].dtype == torch.int64
    assert tally[1] == error


def test_errors_of_a_device_are_diffused_on_the_cpu() -> None:
    """As on a device, whose tensors `played` has: here those of the CPU go the same way."""
    random = np.random.RandomState(0)
    rows = torch.from_numpy(random.randint(0, 256, (31, 70, 3)).astype(np.uint8))
    kept = torch.from_numpy(random.randint(-3, 4, (31, 70)).astype(np.int32)).clamp_(min=-1)
    palette, allowed = rows[0, :9].contiguous(), torch.tensor([0, 2, 3, 8])
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_dispatch, "download", torch.clone)
        for function in (reference.diffuse_errors, pixel_dispatch._diffuse_errors_here):
            falling, labels = torch.zeros(70, 3, dtype=torch.int16), torch.zeros(31, 70, dtype=torch.uint8)
            counts, error = function(rows, kept, palette, allowed, falling, 40, 128, labels)
            results.append([counts, torch.tensor(error), falling, labels])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
