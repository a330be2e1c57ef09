"""Draw the pictures of README.md, from scikit-learn's china.jpg, into benchmarks/pictures. Usage: make_pictures.py"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

import gpuquant

PICTURES = Path(__file__).parents[1] / "benchmarks" / "pictures"
CAPTION = 24  # pixels of height
SEEN = slice(40, 460)  # columns in pictures of many tiles, which are not made smaller: that would mix pixels
Pixels = npt.NDArray[np.uint8]


def tile(pixels: Pixels, caption: str) -> Pixels:
    """Part of a picture, with a line of text below."""
    pixels = pixels[:, SEEN]
    height, width, _ = pixels.shape
    picture = Image.new("RGB", (width, height + CAPTION), "white")
    picture.paste(Image.fromarray(pixels))
    font = ImageFont.load_default(size=CAPTION * 2 // 3)
    ImageDraw.Draw(picture).text((width // 2, height + CAPTION // 2), caption, "black", font, anchor="mm")
    return np.asarray(picture)


def quantized(photo: Pixels, caption: str, **settings: Any) -> Pixels:
    return tile(gpuquant.quantize(photo, 8, **settings).to_array(), caption)


def save(name: str, rows: list[list[Pixels]]) -> None:
    """Write tiles, JPEG at full colour resolution: edges of flat colours are what they are about."""
    picture = Image.fromarray(np.vstack([np.hstack(row) for row in rows]))
    picture.save(PICTURES / name, quality=85, subsampling=0, optimize=True)
    print(f"wrote {PICTURES / name}")


def with_red_alone(photo: Pixels) -> Pixels:
    """The photo in grey but for what is red, about 3 % of its pixels."""
    red, green, blue = photo.astype(int).transpose(2, 0, 1)
    is_red = (red - np.maximum(green, blue) > 40) & (green - blue < 25)
    grey = np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))
    return np.where(is_red[..., None], photo, grey)


def main() -> None:
    photo = load_sample_image("china.jpg")
    save("china-8-colors.jpg", [[photo, gpuquant.quantize(photo, 8).to_array()]])
    first = [tile(photo, "the photo"), quantized(photo, "8 colors"), quantized(photo, "best effort", effort="best")]
    dither: dict[str, Any] = {"dither": "blue-noise"}
    oklab: dict[str, Any] = {"color_space": "oklab"}
    second = [quantized(photo, "blue noise", **dither), quantized(photo, "Oklab", **oklab)]
    save("china-8-looks.jpg", [first, [*second, quantized(photo, "Oklab and blue noise", **oklab, **dither)]])
    street = with_red_alone(photo)
    both = [quantized(street, "8 colors"), quantized(street, "weighting 0.75", weighting=0.75)]
    save("china-8-accent.jpg", [[tile(street, "the photo"), *both]])


if __name__ == "__main__":
    main()
