"""The one table of formats that images are written in. It imports nothing heavy: the command line reads it."""

from dataclasses import dataclass

from gpuquant.arguments import in_words


@dataclass(frozen=True)
class ImageFormat:
    """The limits of a format, which Pillow knows by its name."""

    endings: tuple[str, ...]  # the first is named in help and errors
    max_side: int  # pixels
    holds_indexed: bool = True  # without loss: `open_sink` knows how
    holds_pictures: bool = True  # RGB, for people
    holds_opacity: bool = True  # of partly transparent colors
    holds_profile: bool = True
    max_colors: int | None = None  # of an indexed image, if fewer than any palette may have


FORMATS = {
    "PNG": ImageFormat((".png",), (1 << 31) - 1),
    "TIFF": ImageFormat((".tif", ".tiff"), (1 << 32) - 1),
    "GIF": ImageFormat(
        (".gif",), 65_535, holds_pictures=False, holds_opacity=False, holds_profile=False, max_colors=256
    ),
    "JPEG": ImageFormat((".jpg", ".jpeg"), 65_500, holds_indexed=False),  # libjpeg's
    "WebP": ImageFormat((".webp",), 16_383, holds_indexed=False),
}


def results_by_ending() -> dict[str, str]:
    """All endings of indexed images, with the names of their formats."""
    return {ending: name for name, form in FORMATS.items() if form.holds_indexed for ending in form.endings}


def pictures_by_ending() -> dict[str, str]:
    """All endings of pictures, with the names of their formats."""
    return {ending: name for name, form in FORMATS.items() if form.holds_pictures for ending in form.endings}


def result_endings() -> list[str]:
    """The endings that are named for indexed images, one for each format."""
    return [form.endings[0] for form in FORMATS.values() if form.holds_indexed]


def picture_endings() -> list[str]:
    """The endings that are named for pictures, one for each format."""
    return [form.endings[0] for form in FORMATS.values() if form.holds_pictures]


def result_formats() -> list[str]:
    """The names of the formats of indexed images as arguments: "png" and so on."""
    return [ending[1:] for ending in result_endings()]


def endings_for_all() -> str:
    """The endings of formats that hold every indexed image, in words."""
    every = (form for form in FORMATS.values() if form.holds_indexed and form.holds_opacity and form.holds_profile)
    return in_words(form.endings[0] for form in every)
