"""Pictures for people."""

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_SIDE = 1600  # pixels of one of the two pictures: what a screen shows


def side_by_side(
    original: npt.NDArray[np.uint8],  # [H, W, 3], [H, W, 4] or [H, W]
    result: npt.NDArray[np.uint8],  # [H, W, 3] or [H, W, 4]
) -> Image.Image:  # mode RGB
    """The original on the left and the result on the right, scaled to fit a screen; what is transparent, on white."""
    pictures = [Image.fromarray(pixels) for pixels in (original, result)]
    for picture in pictures:
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    pictures = [_on_white(picture) for picture in pictures]
    width, height = pictures[0].size
    gap = max(2, width // 100)
    canvas = Image.new("RGB", (2 * width + gap, height), "white")
    canvas.paste(pictures[0], (0, 0))
    canvas.paste(pictures[1], (width + gap, 0))
    return canvas


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
