"""The transparency of an image, by an alpha channel or by one color that is clear."""

from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from gpuquant.images.png import Png
from gpuquant.images.samples import Pixels

WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
TOO_FINE = "the transparent color has 16 bits a channel and the pixels 8; all of them are taken as opaque"


def has_alpha(image: Image.Image) -> bool:
    """True where some pixels may be transparent."""
    return "transparency" in image.info or image.mode in WITH_ALPHA


def with_clear_color(image: Image.Image, png: Png, file: BinaryIO) -> Image.Image:
    """A loaded PNG with the pixels of its transparent color clear, compared at the depth of the file."""
    levels = png.clear_levels
    if not levels or image.mode not in ("1", "L", "RGB"):  # Pillow keeps all of gray in 16 bits, and palettes
        if levels and image.mode.startswith("I;16"):
            image.info["transparency"] = levels[0]
        return image
    if png.depth == 16:
        low = _low_bytes(file)
        is_clear = (np.asarray(image) == [level >> 8 for level in levels]).all(axis=2)
        is_clear &= (np.asarray(low) == [level & 255 for level in levels]).all(axis=2)
    else:
        stored = [_scaled(level, png.depth) for level in levels]
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        is_clear = (pixels == stored).all(axis=2) if pixels.ndim == 3 else pixels == stored[0]
    image.info.pop("transparency", None)
    if not is_clear.any():
        return image
    info = image.info
    image = image.convert("RGB" if image.mode == "RGB" else "L")
    image.info = info
    image.putalpha(Image.fromarray(np.where(is_clear, 0, 255).astype(np.uint8)))
    return image


def _scaled(level: int, depth: int) -> int:
    """Scale a level to 8 bits as Pillow scales the pixels; bits above its depth do not count."""
    top = (1 << depth) - 1
    return (level & top) * 255 // top


def _low_bytes(file: BinaryIO) -> Image.Image:
    """The second byte of each sample of 16 bits; Pillow gives the first, unless it takes them for little-endian."""
    file.seek(0)
    image: Any = Image.open(file)
    codec, box, offset, _ = image.tile[0]
    image.tile = [(codec, box, offset, "RGB;16L")]
    image.load()
    return image  # type: ignore[no-any-return]


def settled(image: Image.Image, tiles: Any) -> tuple[str, ...]:
    """Make the transparent color of an image one of its levels, by what its tiles were before it was loaded; notes."""
    clear = image.info.get("transparency")
    raw_mode = str(tiles[0][3]) if tiles else ""
    depth = 1 if image.mode == "1" and tiles else {"L;2": 2, "L;4": 4}.get(raw_mode)
    if image.mode in ("1", "L") and isinstance(clear, int) and depth:
        image.info["transparency"] = _scaled(clear, depth)  # of one bit some versions of Pillow have done it already
    if image.mode == "RGB" and isinstance(clear, tuple) and (max(clear) > 255 or "16" in raw_mode):
        del image.info["transparency"]
        return (TOO_FINE,)
    return ()


def alpha_of(image: Image.Image) -> Pixels:  # [H, W]
    """Alpha, from 0, clear, to 255."""
    if image.mode.startswith("I;16"):  # one gray of 65536 is transparent
        return np.where(np.asarray(image) == image.info.get("transparency"), 0, 255).astype(np.uint8)
    mode = {"RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGBA")
    with_alpha = image if image.mode in ("RGBA", "LA", "PA") else image.convert(mode)
    return np.array(with_alpha.getchannel("A"))


def without_alpha(image: Image.Image) -> Image.Image:
    """The colors, clear ones included."""
    profile = image.info.get("icc_profile")
    mode = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "RGBa": "RGBA", "La": "LA", "P": "RGB"}.get(image.mode, image.mode)
    if image.mode in ("RGBa", "La"):
        return without_alpha(image.convert(mode))
    if image.mode == "P":
        image = image.convert("RGBA")  # which alone ignores what the palette says of transparency
    image = image.copy() if mode == image.mode else image.convert(mode)
    image.info.pop("transparency", None)
    if profile:
        image.info["icc_profile"] = profile
    return image
