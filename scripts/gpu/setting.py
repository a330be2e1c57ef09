"""The place of a step: on the device with whole photos, or rehearsing on the CPU with small ones."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

REHEARSAL = bool(os.environ.get("GPUQUANT_REHEARSAL"))
DEVICE = torch.device("cpu" if REHEARSAL else "cuda")
SIZE = (64, 48) if REHEARSAL else (4271, 3204)  # 13.7 megapixels, as the photo of the article
SMALL = (24, 16) if REHEARSAL else (1154, 866)  # one megapixel
ROUNDS = 3 if REHEARSAL else 20
CPU = torch.device("cpu")

Row = dict[str, Any]


def photo(size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:  # [H, W, 3] uint8
    """A photograph with sensor noise."""
    china = Image.fromarray(load_sample_image("china.jpg")).resize(size, Image.Resampling.LANCZOS)
    levels = np.asarray(china) + np.random.RandomState(seed).normal(0, 2, (size[1], size[0], 3)).astype(np.float32)
    return torch.from_numpy(levels.round().clip(0, 255).astype(np.uint8))


def one_color(size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    return torch.full((size[1], size[0], 3), 60 + seed, dtype=torch.uint8)


def two_colors(size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    drawn = np.random.RandomState(seed).randint(0, 2, (size[1], size[0], 1), dtype=np.uint8)
    return torch.from_numpy((20 + 180 * drawn).repeat(3, axis=2))


def noise(size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), dtype=np.uint8))


KINDS: dict[str, Callable[..., Tensor]] = {
    "photo": photo,
    "one color": one_color,
    "two colors": two_colors,
    "noise": noise,
}


def wait() -> None:
    """Until the device has done what it was asked for."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def each_apart(cases: dict[str, Callable[[], Row]]) -> Iterator[Row]:
    """One row for each case. One that fails is a row with its error; a device that then no longer answers ends it."""
    names = list(cases)
    for number, (what, case) in enumerate(cases.items()):
        try:
            yield {"what": what, **case()}
        except Exception as error:
            yield {"what": what, "error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
            try:
                wait()
            except Exception:
                for left in names[number + 1 :]:
                    yield {"what": left, "error": "not begun: the device no longer answers"}
                return
