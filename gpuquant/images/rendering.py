"""Rendering: how the opaque pixels of a Pillow image become those of a photo; strips are rendered alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageCms

from gpuquant.images.conversion import conversion, gray_table, profile_of, to_srgb
from gpuquant.images.samples import Pixels, Range, gray_of, pixels_of

GRAY_MODES = ("L", "1", "LA", "La", "I", "I;16", "I;16L", "I;16B")


@dataclass(frozen=True, eq=False)
class Rendering:
    """A way for all images of one mode and profile, and what it makes of their colors."""

    render: Callable[[Image.Image], Pixels]  # [H, W, 3] or [H, W]
    to_srgb: Callable[[Pixels], Pixels] | None = None  # as a Photo has the next ones
    icc_profile: bytes | None = None
    other_profile: bool = False
    notes: tuple[str, ...] = ()
    is_gray: bool = False  # it makes [H, W]
    is_plain: bool = False  # of RGB or gray of 8 bits it makes the same levels


def rendering_of(image: Image.Image, levels: Range) -> Rendering:
    """The rendering by an image's mode and profile, whatever its pixels are; it has no alpha."""
    profile, notes = profile_of(image)
    if image.mode in GRAY_MODES:
        if profile is None:
            return Rendering(partial(_gray, levels), notes=notes, is_gray=True, is_plain=image.mode == "L")
        table = gray_table(profile)
        is_gray = bool((table == table[:, :1]).all())
        by_gray = table[:, 0] if is_gray else table
        return Rendering(lambda some: by_gray[_gray(levels, some)], other_profile=True, notes=notes, is_gray=is_gray)
    if image.mode in ("RGB", "P"):
        is_plain = image.mode == "RGB"
        if profile is None:
            return Rendering(_rgb, notes=notes, is_plain=is_plain)
        convert, data = conversion(to_srgb(profile, "RGB")), image.info["icc_profile"]
        return Rendering(_rgb, convert, data, notes=notes, is_plain=is_plain)
    if image.mode == "LAB":
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if profile is None or image.mode in ("YCbCr", "HSV"):
        return Rendering(_rgb, notes=notes)
    return Rendering(partial(_transformed, to_srgb(profile, image.mode)), other_profile=True, notes=notes)


def _gray(levels: Range, image: Image.Image) -> Pixels:  # [H, W]
    if image.mode in ("L", "1"):
        return pixels_of(image if image.mode == "L" else image.convert("L"))
    return gray_of(image, levels)


def _rgb(image: Image.Image) -> Pixels:  # [H, W, 3]
    return pixels_of(image if image.mode == "RGB" else image.convert("RGB"))


def _transformed(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Pixels:  # [H, W, 3]
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return pixels_of(converted)
