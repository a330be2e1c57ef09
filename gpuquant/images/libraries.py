"""Versions of the libraries that fetch, decode, compute and encode: others may give other bits, or read less."""

from contextlib import suppress
from importlib import metadata

from PIL import features

PACKAGES = (
    "fsspec",
    "gcsfs",
    "numba",
    "numpy",
    "pillow",
    "pillow-heif",
    "pyvips",
    "pyvips-binary",
    "s3fs",
    "scipy",
    "torch",
)
OF_PILLOW = ("avif", "jpg", "jpg_2000", "libjpeg_turbo", "libtiff", "littlecms2", "webp", "zlib", "zlib_ng")


def versions() -> dict[str, str]:
    """The versions of those that are there; "?" where it is not known. Builds of one for several devices have the same.

    Examples
    --------
    >>> from gpuquant.images.libraries import versions
    >>> {"numpy", "pillow", "torch"} <= set(versions())
    True
    """
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name).partition("+")[0]
    for name in set(OF_PILLOW) & {*features.modules, *features.codecs, *features.features}:
        if features.check(name):
            found[f"Pillow's {name}"] = features.version(name) or "?"
    return found
