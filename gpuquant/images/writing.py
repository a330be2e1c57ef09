"""Formats and their limits; indexed images of Pillow's; and pictures for people, which are written by it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from gpuquant.arguments import in_words
from gpuquant.errors import ArgumentError, GpuquantError
from gpuquant.images.registry import (
    FORMATS,
    endings_for_all,
    picture_endings,
    pictures_by_ending,
    result_endings,
    result_formats,
    results_by_ending,
)
from gpuquant.images.targets import ImageTarget, whole_target
from gpuquant.locations import Location, place_of
from gpuquant.tensors import as_numpy
from gpuquant.whole_file import EncoderError, is_binary_file

MAX_JPEG_PROFILE = 255 * 65_519  # bytes, in as many pieces as can be numbered


def indexed_image(
    labels: npt.NDArray[np.uint8],  # [H, W]
    colors: npt.NDArray[np.uint8],  # [K, 3], or [K, 4] with alpha, K <= 256
) -> Image.Image:
    """A Pillow image of mode P."""
    image = Image.fromarray(labels)
    image.putpalette(colors[:, :3].tobytes())
    if colors.shape[1] == 4:
        image.info["transparency"] = colors[:, 3].tobytes()
    return image


def check_format(
    file: ImageTarget,
    n_colors: int,
    *,
    image_format: str | None = None,  # in place of a path's ending
    size: tuple[int, int] | None = None,  # width and height, as stored or upright: no format tells them apart
    alpha: npt.NDArray[np.uint8] | Tensor | None = None,  # [K]
    profile: bytes | None = None,
) -> str:
    """The format that is asked for, by name or by a path's ending: "PNG", "TIFF" or "GIF".

    Raises
    ------
    ArgumentError
        There is no such format, or it cannot hold so many colors, so many pixels in a row or column, the colors'
        opacity or a profile; or the file is neither a path nor takes bytes.
    """
    name, formats = name_of(file), results_by_ending()
    if image_format is not None:
        ending = f".{image_format.lower().removeprefix('.')}" if isinstance(image_format, str) else ""
        if ending not in formats:
            raise ArgumentError(
                f"{image_format!r} is no format of results; use {in_words(map(repr, result_formats()))}"
            )
    elif isinstance(file, str | os.PathLike | Location):
        ending = _ending(file)
        if ending not in formats:
            ways = in_words(result_endings())
            raise ArgumentError(f"{name}: cannot write {ending or 'a file without an ending'!r}; use {ways}")
    else:
        ways = in_words(map(repr, result_formats()))
        raise ArgumentError(f"a file object has no ending; say what to write: {ways}")
    kind = formats[ending]
    most = FORMATS[kind].max_colors
    if most and n_colors > most:
        raise ArgumentError(f"{name}: a {kind} holds at most {most} colors, not {n_colors}; use {endings_for_all()}")
    if not FORMATS[kind].holds_opacity and alpha is not None and not np.isin(as_numpy(alpha), (0, 255)).all():
        raise ArgumentError(f"{name}: a {kind} holds no partly transparent colors; use .png, or give a background")
    if not FORMATS[kind].holds_profile and profile:
        raise ArgumentError(f"{name}: a {kind} holds no color profile; use {endings_for_all()}")
    if size is not None:
        _check_size(name, kind, size)
    return kind


def name_of(file: ImageTarget) -> str:
    """A path or URL to show, or "the file" for an object that takes bytes.

    Raises
    ------
    ArgumentError
        It is neither.
    """
    if isinstance(file, str | os.PathLike | Location):
        return str(place_of(file))
    if not is_binary_file(file):
        raise ArgumentError(f"file must be the path of a file to write, or a binary file, got {type(file).__name__}")
    return "the file"


def _ending(path: str | Path | Location) -> str:
    if not isinstance(path, str | os.PathLike | Location):
        raise ArgumentError(f"path must be the path of a file to write, got {type(path).__name__}")
    return place_of(path).suffix.lower()


def _check_size(name: str, image_format: str, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ArgumentError(f"{name}: the image is empty ({size[0]} x {size[1]})")
    most = FORMATS[image_format].max_side
    if max(size) > most:
        limit = f"at most {most} pixels wide and high, not {size[0]} x {size[1]}"
        raise ArgumentError(f"{name}: a {image_format} is {limit}; use {endings_for_all()}")


@contextmanager
def encoding() -> Iterator[None]:
    """Make an error of the file of whatever Pillow's encoders raise."""
    try:
        yield
    except (GpuquantError, MemoryError):
        raise
    except OSError as error:
        raise EncoderError(error.strerror or str(error)) from None
    except Exception as error:
        raise EncoderError(" ".join(f"{type(error).__name__}: {error}".split())) from None


def write_picture(image: Image.Image, path: str | Path | Location) -> None:
    """Write an RGB picture for people, where a lossy format will do.

    Raises
    ------
    ArgumentError
        The path's ending is unknown, or the format cannot hold so many pixels, or the profile.
    ImageFileError
        The file cannot be written.
    """
    picture_format, name = check_picture_format(path), name_of(path)
    _check_size(name, picture_format, image.size)
    profile = image.info.get("icc_profile")
    if picture_format == "JPEG" and len(profile or b"") > MAX_JPEG_PROFILE:
        raise ArgumentError(f"{name}: a JPEG holds a color profile of at most {MAX_JPEG_PROFILE} bytes; use .png")
    with whole_target(path) as file, encoding():
        image.save(file, picture_format, quality=92, icc_profile=profile)


def check_picture_format(path: str | Path | Location) -> str:
    """The format that the ending of a picture's path asks for.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    """
    ending, formats = _ending(path), pictures_by_ending()
    if ending not in formats:
        ways = in_words(picture_endings())
        raise ArgumentError(f"{name_of(path)}: cannot write {ending or 'a file without an ending'!r}; use {ways}")
    return formats[ending]
