"""Conversions to sRGB by ICC profiles."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from gpuquant.images.samples import Pixels

UNUSABLE = "the embedded color profile cannot be used; colors are taken for sRGB"
NOT_OPTIMIZED = 0x0100  # littleCMS then reckons with 16 bits: for 256 grays that is no cost, and dark ones need it


def profile_of(image: Image.Image) -> tuple[ImageCms.ImageCmsProfile | None, tuple[str, ...]]:
    """The embedded profile, unless it is sRGB's or cannot be used, and a note."""
    data = image.info.get("icc_profile")
    if not data:
        return None, ()
    if not isinstance(data, bytes):  # numbers in a TIFF
        return None, (UNUSABLE,)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return None, ()
        mode = "L" if image.mode == "1" or image.mode.startswith("I") else "RGB" if image.mode == "P" else image.mode
        to_srgb(profile, mode)
    except (ImageCms.PyCMSError, OSError):
        return None, (UNUSABLE,)
    return profile, ()


def to_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    """The transform of an image of a mode."""
    flags = NOT_OPTIMIZED if mode == "L" else 0
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)  # type: ignore[arg-type]


def gray_table(profile: ImageCms.ImageCmsProfile) -> Pixels:  # [256, 3]
    """The color of each gray."""
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    table: Pixels = np.asarray(ImageCms.applyTransform(every, to_srgb(profile, "L")))[0]
    return table


def conversion(transform: ImageCms.ImageCmsTransform) -> Callable[[Pixels], Pixels]:
    """A transform as a function of colors [M, 3]."""

    def convert(colors: Pixels) -> Pixels:
        row = Image.fromarray(np.ascontiguousarray(colors)[None])
        converted: Pixels = np.array(ImageCms.applyTransform(row, transform))[0]
        return converted

    return convert
