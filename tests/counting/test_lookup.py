"""Pixels to labels through a lookup table, against a dictionary."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant.counting.lookup import label_lookup


def noise(*shape: int, high: int = 256, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def as_tensor(values: npt.NDArray[np.int32] | npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def looked_up(pixels: torch.Tensor, colors: torch.Tensor, labels: torch.Tensor, *, wide: bool) -> torch.Tensor:
    with label_lookup(colors, labels, torch.uint16 if wide else torch.uint8) as labels_of:
        return labels_of(pixels)


def by_hand(
    pixels: npt.NDArray[np.uint8], colors: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    table = {tuple(color): label for color, label in zip(colors.tolist(), labels.tolist(), strict=True)}
    return np.array([table[tuple(pixel)] for pixel in pixels.tolist()])


@pytest.mark.parametrize(("highest", "dtype"), [(0, torch.uint8), (255, torch.uint8), (256, torch.uint16)])
def test_labels_are_as_wide_as_asked_for(highest: int, dtype: torch.dtype) -> None:
    colors = torch.tensor([[1, 2, 3], [3, 2, 1]], dtype=torch.uint8)
    labels = looked_up(colors, colors, torch.tensor([0, highest], dtype=torch.int32), wide=dtype == torch.uint16)
    assert labels.dtype == dtype
    assert labels.tolist() == [0, highest]


def test_highest_label_of_all() -> None:
    colors = torch.tensor([[0, 0, 0], [255, 255, 255]], dtype=torch.uint8)
    labels = looked_up(colors, colors, torch.tensor([65535, 32768], dtype=torch.int32), wide=True)
    assert labels.tolist() == [65535, 32768]


@pytest.mark.parametrize("n_labels", [7, 4096])
def test_every_pixel_gets_the_label_of_its_color(n_labels: int) -> None:
    pixels = noise(501, 3, high=9)
    colors = np.unique(pixels, axis=0)
    labels = np.random.default_rng(1).integers(0, n_labels, len(colors))
    labels[0] = n_labels - 1
    found = looked_up(
        as_tensor(pixels),
        as_tensor(colors),
        as_tensor(labels.astype(np.int32)),
        wide=n_labels > 256,
    )
    np.testing.assert_array_equal(found.numpy(), by_hand(pixels, colors, labels))


def test_gray_pixels_get_the_label_of_three_equal_levels() -> None:
    gray = noise(300)
    levels = np.unique(gray)
    colors = np.repeat(levels[:, None], 3, axis=1)
    labels = np.arange(len(levels))[::-1].copy()
    found = looked_up(as_tensor(gray), as_tensor(colors), as_tensor(labels.astype(np.int32)), wide=False)
    np.testing.assert_array_equal(found.numpy(), by_hand(np.repeat(gray[:, None], 3, axis=1), colors, labels))


def test_channels_are_not_swapped() -> None:
    colors = torch.eye(3, dtype=torch.uint8) * 255
    labels = looked_up(colors[[2, 0, 1, 2]], colors, torch.tensor([5, 6, 7], dtype=torch.int32), wide=False)
    assert labels.tolist() == [7, 5, 6, 7]


def test_one_pixel() -> None:
    color = torch.tensor([[9, 8, 7]], dtype=torch.uint8)
    assert looked_up(color, color, torch.tensor([3], dtype=torch.int32), wide=False).tolist() == [3]
