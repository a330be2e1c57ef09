"""Results worked out in other ways, for tests to compare with."""

import numpy as np
import numpy.typing as npt
from conftest import Pixels

from gpuquant.quantization.result import QuantizedImage


def by_hand(
    pixels: Pixels,
    palette: Pixels,
    strength: int = 128,
    still: npt.NDArray[np.bool_] | None = None,
    limit: int = 255,
) -> npt.NDArray[np.int64]:
    """Row by row, from left to right: every error is handed out in sixteenths as soon as it is known."""
    height, width, _ = pixels.shape
    entries, levels = palette.astype(np.int64), pixels.astype(np.int64)
    waiting = np.zeros((height + 1, width + 2, 3), np.int64)  # sixteenths; a border takes what leaves the image
    labels = np.zeros((height, width), np.int64)
    for y in range(height):
        for x in range(width):
            level = np.floor((16 * levels[y, x] + waiting[y, x + 1]) / 16 + 0.5).clip(0, 255).astype(np.int64)
            apart = ((entries - level) ** 2).sum(axis=1)
            labels[y, x] = apart.argmin()
            if still is not None and still[y, x]:
                continue
            error = (level - entries[labels[y, x]]).clip(-limit, limit)
            error = np.floor(error * strength / 128 + 0.5).astype(np.int64)
            waiting[y, x + 2] += 7 * error
            waiting[y + 1, x] += 3 * error
            waiting[y + 1, x + 1] += 5 * error
            waiting[y + 1, x + 2] += error
    return labels


def drawing(kind: str, seed: int = 0) -> Pixels:
    """[40, 30, 4]: some colors, clear on the left, opaque on the right, and between as the kind says."""
    random = np.random.RandomState(seed)
    middles = random.randint(0, 256, (9, 3))
    colors = middles[random.randint(0, 9, (40, 30))] + random.normal(0, 6, (40, 30, 3))
    alpha = np.broadcast_to(np.linspace(0, 255, 30), (40, 30))
    if kind == "clear and opaque":
        alpha = np.where(alpha < 100, 0, 255)
    if kind == "opaque and partly":
        alpha = alpha.clip(50)
    return np.dstack([colors, alpha]).clip(0, 255).astype(np.uint8)


def seen(pixels: Pixels) -> np.ndarray:
    """[..., 4] float64: colors times alpha / 255, and alpha."""
    wide = pixels.astype(np.float64)
    return np.concatenate([wide[..., :3] * wide[..., 3:] / 255, wide[..., 3:]], axis=-1)


def same(one: QuantizedImage, other: QuantizedImage) -> bool:
    equal = [np.array_equal(getattr(one, name), getattr(other, name)) for name in ("labels", "counts")]
    return all(equal) and one.palette.hex == other.palette.hex and (one.mse, one.inertia) == (other.mse, other.inertia)
