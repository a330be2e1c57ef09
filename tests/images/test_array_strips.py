"""Arrays in files are mapped, and come in strips."""

from pathlib import Path

import numpy as np
import pytest
from strip_photos import HEIGHT, WIDTH, levels

from gpuquant.errors import ImageFileError
from gpuquant.images.strips import open_strips


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "shape", [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4), (HEIGHT, WIDTH), (HEIGHT, WIDTH, 1), (1, 1, 3)]
)
def test_arrays_are_mapped(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    np.save(tmp_path / "photo.npy", pixels if dtype is np.uint8 else pixels.astype(dtype) / 255)
    expected = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    with open_strips(tmp_path / "photo.npy", budget=0) as photo:
        assert (photo.shape, photo.how) == (shape[:2], "mapped into memory")
        for n_rows in (None, 3):
            np.testing.assert_array_equal(np.concatenate(list(photo.strips(n_rows))), expected)
        assert photo.n_channels == (expected.shape[2] if expected.ndim == 3 else 1)


def test_arrays_that_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "photo.npy"
    for array, words in (
        (np.zeros((4, 5, 6, 7)), r"image must be .*got \(4, 5, 6, 7\)"),
        (np.zeros((4, 5, 3), np.int32), "int32"),
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.full((4, 5, 3), 2.0), "image"),
    ):
        np.save(path, array)
        with pytest.raises(ImageFileError, match=words) as caught, open_strips(path, budget=0) as photo:
            list(photo.strips())
        assert str(caught.value).startswith(str(path))
    np.save(path, levels())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageFileError, match=r"photo\.npy"), open_strips(path, budget=0) as photo:
        list(photo.strips())
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(ImageFileError, match=r"photo\.npy"), open_strips(path, budget=0):
        pass
