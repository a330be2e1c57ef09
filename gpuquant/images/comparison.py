"""Pictures for people."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

MAX_SIDE = 1600  # pixels of one of the two pictures: what a screen shows
STRIP_PIXELS = 1 << 20  # compared at a time: 12 MiB of floats for each of the two pictures
BRIGHTEST = 0.999  # share of the pixels that an error map tells apart: single outliers would leave the rest dark

Pixels = npt.NDArray[np.uint8]


def side_by_side(
    original: Pixels,  # [H, W, 3], [H, W, 4] or [H, W]
    result: Pixels,  # [H, W, 3] or [H, W, 4]
    entries: Pixels | None = None,  # [K, 3] or [K, 4]: a bar of them is drawn below
    shares: npt.NDArray[np.float64] | None = None,  # [K]
) -> Image.Image:  # mode RGB
    """The original on the left and the result on the right, scaled to fit a screen; what is transparent, on white."""
    pictures = [Image.fromarray(pixels) for pixels in (original, result)]
    for picture in pictures:
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    pictures = [_on_white(picture) for picture in pictures]
    width, height = pictures[0].size
    gap = max(2, width // 100)
    bar = None
    if entries is not None and shares is not None:
        bar = palette_bar(entries, shares, 2 * width + gap, max(4, (2 * width + gap) // 25))
    canvas = Image.new("RGB", (2 * width + gap, height + (gap + bar.height if bar else 0)), "white")
    canvas.paste(pictures[0], (0, 0))
    canvas.paste(pictures[1], (width + gap, 0))
    if bar:
        canvas.paste(bar, (0, height + gap))
    return canvas


def palette_bar(
    entries: Pixels,  # [K, 3] or [K, 4]
    shares: npt.NDArray[np.float64],  # [K]
    width: int,
    height: int,
) -> Image.Image:  # mode RGB
    """Every entry as wide as its share of the pixels, with the share in per cent where it has room."""
    edges = np.concatenate([[0], np.cumsum(shares)]) / max(float(shares.sum()), 1e-300) * width
    columns = np.searchsorted(edges[1:-1], np.arange(width) + 0.5)
    bar = _on_white(Image.fromarray(entries[columns][None])).resize((width, height), Image.Resampling.NEAREST)
    size = max(8, height // 3)
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(size)
    for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True):
        text = f"{share:.0%}"
        if size > height or draw.textlength(text, font) + 4 > right - left:
            continue
        middle = (left + right) / 2
        red, green, blue = bar.getpixel((int(middle), 0))  # type: ignore[misc]
        ink = "black" if 299 * red + 587 * green + 114 * blue > 128_000 else "white"  # luma of ITU-R BT.601
        draw.text((middle, height / 2), text, ink, font, anchor="mm")
    return bar


def error_map(
    original: Pixels,  # [H, W, 3], [H, W, 4] or [H, W]
    result: Pixels,  # [H, W, 3] or [H, W, 4]
) -> Image.Image:  # mode L
    """Show each pixel's distance from the original: black is none, and white the longest but for one in a thousand.

    A large photo is scaled to fit a screen, by the mean of the distances. What is transparent is seen on white.
    """
    height, width = original.shape[:2]
    distances = np.empty((height, width), np.float32)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strips = [_on_white(Image.fromarray(pixels[top : top + rows])) for pixels in (original, result)]
        before, after = (np.asarray(strip, np.float32) for strip in strips)
        distances[top : top + rows] = np.sqrt(np.square(before - after).sum(axis=2))
    picture = Image.fromarray(distances)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    shown = np.asarray(picture)
    white = float(np.quantile(shown, BRIGHTEST)) or float(shown.max()) or 1.0
    return Image.fromarray((shown * (255 / white)).round().clip(0, 255).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
