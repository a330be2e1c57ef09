"""Images and arguments that cannot be used are refused, and named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gpuquant.errors import ArgumentError, DeviceError, GpuquantError, ImageFileError
from gpuquant.quantization.recipes import quantize

GOOD = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (GOOD.astype(np.int64), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), "H, W, 3"),
        (np.zeros(4, np.uint8), "H, W"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        ([[1, 2, 3]], "list"),
        (Image.new("F", (2, 2)), "mode F"),
        (Image.new("RGB", (0, 2)), "empty"),
    ],
)
def test_unusable_images_are_refused(image: object, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        quantize(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"n_colors": 0}, ArgumentError),
        ({"n_colors": 4097}, ArgumentError),
        ({"n_colors": 2.5}, ArgumentError),
        ({"n_colors": True}, ArgumentError),
        ({"effort": "most"}, ArgumentError),
        ({"init": "wu"}, ArgumentError),
        ({"init": np.zeros((3, 5))}, ArgumentError),
        ({"init": np.full((8, 3), 256.0)}, ArgumentError),
        ({"n_init": 0}, ArgumentError),
        ({"max_iter": 0}, ArgumentError),
        ({"tol": -1.0}, ArgumentError),
        ({"chunk_size": 0}, ArgumentError),
        ({"random_state": -1}, ArgumentError),
        ({"device": "mps"}, DeviceError),
        ({"device": "gpu"}, DeviceError),
        ({"device": 5.5}, DeviceError),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], error: type[GpuquantError]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        quantize(GOOD, **arguments)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_an_error(device: str) -> None:
    with pytest.raises(DeviceError, match=device):
        quantize(GOOD, device=device)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="no such file"):
        quantize(tmp_path / "missing.png")
