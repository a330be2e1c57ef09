"""Draw the pictures of README.md and benchmarks/README.md, from china.jpg of scikit-learn, in ten seconds.

They go to benchmarks/pictures. That of how it works needs matplotlib, which scripts/setup.sh bench installs; that of a
report shows flower.jpg, too, and needs chromium, and Selenium, which scripts/setup.sh dev installs.

Example: .venv/bin/python scripts/make_pictures.py
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports that take long, or may fail
    from parts.arguments import Arguments

    Arguments(__doc__).parse_args()

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

import gpuquant

PICTURES = Path(__file__).parents[1] / "benchmarks" / "pictures"
CAPTION = 24  # pixels of height
SCATTERED = 6000  # colors that are drawn
WIDE, HIGH = 1240, 1028  # pixels of the window in which a report is shown
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
    """Write tiles, JPEG at full color resolution: edges of flat colors are what they are about."""
    picture = Image.fromarray(np.vstack([np.hstack(row) for row in rows]))
    picture.save(PICTURES / name, quality=85, subsampling=0, optimize=True)
    print(f"wrote {PICTURES / name}")


def with_red_alone(photo: Pixels) -> Pixels:
    """The photo in grey but for what is red, about 3 % of its pixels."""
    red, green, blue = photo.astype(int).transpose(2, 0, 1)
    is_red = (red - np.maximum(green, blue) > 40) & (green - blue < 25)
    grey = np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))
    return np.where(is_red[..., None], photo, grey)


def draw_steps(photo: Pixels) -> None:
    """The photo, its counted colors in the cube, their clusters, and the picture that is looked up from them."""
    from parts.arguments import needing

    with needing("bench"):
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

    result = gpuquant.quantize(photo, 8)
    histogram = gpuquant.ColorHistogram()
    histogram.add(photo)
    colors, counts = histogram.colors.numpy(), histogram.counts.numpy()
    some = np.random.RandomState(0).choice(len(colors), SCATTERED, replace=False)
    colors, sizes = colors[some], 2 * np.sqrt(counts[some])
    nearest = np.square(colors[:, None].astype(int) - result.palette.colors).sum(axis=2).argmin(axis=1)
    figure = plt.figure(figsize=(13, 3.6), layout="constrained")
    captions = (
        f"{photo.size // 3:,} pixels",
        f"1  count: {len(histogram):,} colors",
        "2  k-means on colors and counts",
        "3  look each pixel's color up",
    )
    for place, caption in enumerate(captions):
        if place in (0, 3):
            panel = figure.add_subplot(1, 4, place + 1)
            panel.imshow(photo if place == 0 else result.to_array())
            panel.axis("off")
        else:
            cube = figure.add_subplot(1, 4, place + 1, projection="3d", computed_zorder=False)
            shown = colors if place == 1 else result.palette.colors[nearest]
            cube.scatter(*colors.T, c=shown / 255, s=sizes, depthshade=False, linewidths=0)
            if place == 2:
                own = result.palette.colors
                cube.scatter(
                    *own.T, c=own / 255, s=140, depthshade=False, edgecolors="black", linewidths=1.2, zorder=10
                )
            cube.set(xlabel="R", ylabel="G", zlabel="B", xticks=[], yticks=[], zticks=[])
            for axis in (cube.xaxis, cube.yaxis, cube.zaxis):
                axis.labelpad = -12
            cube.set_box_aspect((1, 1, 1), zoom=0.95)
            panel = cube
        panel.set_title(caption, fontsize=12)
    figure.savefig(PICTURES / "how-it-works.jpg", dpi=100, pil_kwargs={"quality": 88})
    print(f"wrote {PICTURES / 'how-it-works.jpg'}")


def draw_report(china: Pixels, flower: Pixels) -> None:
    """A report in a browser, of photos in 8 colors; the picture itself has 128."""
    from parts.browser import browser, missing, resize

    if why := missing():
        sys.exit(f"make_pictures: {why}")
    photos, random = {"china": china, "dahlia": flower}, np.random.RandomState(0)
    for number in range(38):
        photo = (china, flower)[number % 2]
        top, left = random.randint(0, 200), random.randint(0, 280)
        photos[f"detail-{number + 1:02}"] = photo[top : top + 220, left : left + 330]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "holiday").mkdir()
        for name, pixels in photos.items():
            Image.fromarray(pixels).save(Path(folder) / "holiday" / f"{name}.jpg", quality=92)
        (Path(folder) / "holiday" / "notes.jpg").write_text("not a photo")
        list(gpuquant.quantize_files(Path(folder) / "holiday", Path(folder) / "small", 8, report=True))
        with browser(Path(folder) / "profile") as driver:
            resize(driver, WIDE, HIGH)
            driver.get((Path(folder) / "small" / "report.html").as_uri())
            by_name = (
                "const by = document.getElementById('sort'); by.value = 'name'; by.dispatchEvent(new Event('change'));"
            )
            driver.execute_async_script(f"{by_name} setTimeout(arguments[0], 500)")  # for its pictures
            seen = np.array(Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB"))
    gpuquant.quantize(seen, 128, dither="blue-noise", dither_strength=0.5).save(PICTURES / "report.png")
    print(f"wrote {PICTURES / 'report.png'}")


def main() -> None:
    photo = load_sample_image("china.jpg")
    draw_steps(photo)
    save("china-8-colors.jpg", [[photo, gpuquant.quantize(photo, 8).to_array()]])
    first = [tile(photo, "the photo"), quantized(photo, "8 colors"), quantized(photo, "best effort", effort="best")]
    dither: dict[str, Any] = {"dither": "blue-noise"}
    oklab: dict[str, Any] = {"color_space": "oklab"}
    second = [quantized(photo, "blue noise", **dither), quantized(photo, "Oklab", **oklab)]
    save("china-8-looks.jpg", [first, [*second, quantized(photo, "Oklab and blue noise", **oklab, **dither)]])
    street = with_red_alone(photo)
    both = [quantized(street, "8 colors"), quantized(street, "weighting 0.75", weighting=0.75)]
    save("china-8-accent.jpg", [[tile(street, "the photo"), *both]])
    draw_report(photo, load_sample_image("flower.jpg"))


if __name__ == "__main__":
    main()
