"""Reading image files: whole, upright, in sRGB, in 8 bits."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from gpuquant.errors import ArgumentError, ImageFileError

MAX_PIXELS = 500_000_000
STRIP_BYTES = 100_000  # that are taken over from Pillow at a time: larger strips get fresh memory, which costs more
KNOWN_MODES = {"RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16L", "I;16B"}
KNOWN_MODES |= {"RGBA", "LA", "PA", "RGBa", "La"}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Photo:
    """Pixels, and what to know about them."""

    pixels: Pixels  # [H, W, 3], [H, W, 4] with alpha (then not all opaque), or grey [H, W]
    to_srgb: Callable[[Pixels], Pixels] | None = None  # for stored colours [M, 3], where a profile gives them a meaning
    icc_profile: bytes | None = None  # that profile
    other_profile: bool = False  # whether another one was applied: of grey, CMYK or Lab
    notes: tuple[str, ...] = ()  # what was lost in reading

    def in_srgb(self) -> Pixels:
        """The pixels as they look."""
        if self.to_srgb is None:
            return self.pixels
        converted = np.stack([self.to_srgb(row[:, :3]) for row in self.pixels])
        return np.concatenate([converted, self.pixels[:, :, 3:]], axis=2)


def read_size(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as stored, without decoding.

    Raises
    ------
    ImageFileError
        There is no such file, it has more than `max_pixels`, or it is not an image.
    """
    with _opened(path) as image:
        _check_size(path, image, max_pixels)
        return image.width, image.height


def read_photo(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a file to upright pixels (EXIF orientation applied).

    RGB pixels stay as stored, with the conversion of their embedded profile to sRGB beside them: there are fewer
    distinct colours than pixels. All other kinds are converted.

    Raises
    ------
    ImageFileError
        There is no such file, it has more than `max_pixels`, or it is not a whole image of a kind that is supported.
    """
    with _opened(path) as image:
        _check_size(path, image, max_pixels)
        return photo_of(image)


def _check_size(path: str | Path, image: Image.Image, max_pixels: int) -> None:
    n_pixels = image.width * image.height
    if n_pixels > max_pixels:
        found = f"{image.width} x {image.height} = {n_pixels / 1e6:.4g} megapixels"
        limit = f"more than the limit of {max_pixels / 1e6:.4g}"
        raise ImageFileError(f"{path} has {found}, {limit}; raise it with max_pixels (--max-pixels)")


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet; all that goes wrong with it becomes an error of ours."""
    if Path(path).is_dir():
        raise ImageFileError(f"{path} is a folder, or one that cannot be listed, and not a regular file")
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise ImageFileError(f"{path} is not a regular file")
    try:
        with _no_limit_of_pillows():
            image = Image.open(path)
        with image:
            yield image
    except ArgumentError as error:
        raise ImageFileError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise ImageFileError(f"{path} is not an image in a format that Pillow can read") from None
    except ImageFileError:
        raise
    except MemoryError:
        raise ImageFileError(f"{path} does not fit into memory") from None
    except Exception as error:  # what Pillow's decoders raise is not limited, see scripts/fuzz.py
        raise ImageFileError(f"{path} cannot be read: {_words_of(error)}") from None


def photo_of(image: Image.Image) -> Photo:
    """The photo that a Pillow image holds, upright.

    Raises
    ------
    ArgumentError
        The image is empty, cannot be decoded, or is of a mode that is not supported.
    """
    if 0 in image.size:
        raise ArgumentError(f"the image is empty ({image.width} x {image.height})")
    try:
        notes = _notes(image)
        image.load()
        if image.mode not in KNOWN_MODES:
            advice = 'convert it to 8-bit RGB first (with Pillow, image.convert("RGB"))'
            raise ArgumentError(f"images of mode {image.mode} are not supported; {advice}")
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        photo = _converted(ImageOps.exif_transpose(image) if turned else image)
    except (ArgumentError, MemoryError):
        raise
    except Exception as error:  # never loaded again: a second attempt could pass in silence
        raise ArgumentError(f"the image cannot be decoded: {_words_of(error)}") from None
    return replace(photo, notes=notes + photo.notes)


def _words_of(error: Exception) -> str:
    """An error of Pillow's in one line; some say nothing without their kind."""
    words = " ".join(str(error).split())
    return (
        words if isinstance(error, OSError | SyntaxError | ValueError) and words else f"{type(error).__name__} {words}"
    )


def _converted(image: Image.Image) -> Photo:
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        alpha = _alpha_of(image)
        if alpha.min() < 255:
            photo = _opaque(_grey_as_grey(_without_alpha(image)))
            colors = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[:, :, None].repeat(3, axis=2)
            return replace(photo, pixels=np.concatenate([colors, alpha[:, :, None]], axis=2))
        image = _without_alpha(image)
    return _opaque(image)


def _alpha_of(image: Image.Image) -> Pixels:  # [H, W]
    transparency = image.info.get("transparency")
    if image.mode.startswith("I;16"):  # one grey of 65536 is transparent
        return np.where(np.asarray(image) == transparency, 0, 255).astype(np.uint8)
    if image.mode == "RGB" and isinstance(transparency, tuple) and max(transparency) > 255:
        image = image.copy()  # Pillow hands over the high bytes of 16 bits, but not of the transparent colour
        image.info["transparency"] = tuple(level >> 8 for level in transparency)
    mode = {"RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGBA")
    with_alpha = image if image.mode in ("RGBA", "LA", "PA") else image.convert(mode)
    return _array(with_alpha.getchannel("A"))


def _without_alpha(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    mode = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "RGBa": "RGBA", "La": "LA", "P": "RGB"}.get(image.mode, image.mode)
    if image.mode in ("RGBa", "La"):
        return _without_alpha(image.convert(mode))
    if image.mode == "P":
        image = image.convert("RGBA")  # which alone ignores what the palette says of transparency
    image = image.copy() if mode == image.mode else image.convert(mode)
    image.info.pop("transparency", None)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _grey_as_grey(image: Image.Image) -> Image.Image:
    """One channel of three that are equal: grey of 16 bits with alpha comes as RGBA, with a profile for grey."""
    if image.mode != "RGB" or any(image.getchannel(0) != image.getchannel(place) for place in (1, 2)):
        return image
    grey = image.getchannel(0)
    grey.info = dict(image.info)
    return grey


def _opaque(image: Image.Image) -> Photo:
    profile, notes = _profile_of(image)
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint32)
        return Photo(((levels + 128) // 257).astype(np.uint8), notes=notes)
    if image.mode in ("L", "1"):
        grey = _array(image if image.mode == "L" else image.convert("L"))
        if profile is None:
            return Photo(grey, notes=notes)
        every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        table = np.asarray(ImageCms.applyTransform(every, _to_srgb(profile, "L")))[0]
        is_grey = (table == table[:, :1]).all()
        return Photo(table[grey, 0] if is_grey else table[grey], other_profile=True, notes=notes)
    if image.mode in ("RGB", "P"):
        pixels = _array(image if image.mode == "RGB" else image.convert("RGB"))
        if profile is None:
            return Photo(pixels, notes=notes)
        return Photo(pixels, _conversion(_to_srgb(profile, "RGB")), image.info["icc_profile"], notes=notes)
    if image.mode == "LAB":
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if profile is None or image.mode in ("YCbCr", "HSV"):
        return Photo(_array(image.convert("RGB")), notes=notes)
    converted = ImageCms.applyTransform(image, _to_srgb(profile, image.mode))
    assert converted is not None
    return Photo(_array(converted), other_profile=True, notes=notes)


def _conversion(transform: ImageCms.ImageCmsTransform) -> Callable[[Pixels], Pixels]:
    def convert(colors: Pixels) -> Pixels:  # [M, 3]
        row = Image.fromarray(np.ascontiguousarray(colors)[None])
        converted: Pixels = np.array(ImageCms.applyTransform(row, transform))[0]
        return converted

    return convert


def _profile_of(image: Image.Image) -> tuple[ImageCms.ImageCmsProfile | None, tuple[str, ...]]:
    """The embedded profile, unless it is sRGB's or cannot be used."""
    data = image.info.get("icc_profile")
    if not data:
        return None, ()
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return None, ()
        _to_srgb(profile, "L" if image.mode == "1" else "RGB" if image.mode == "P" else image.mode)
    except (ImageCms.PyCMSError, OSError):
        return None, ("the embedded colour profile cannot be used; colours are taken for sRGB",)
    return profile, ()


def _to_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")


def _array(image: Image.Image) -> Pixels:
    """The pixels of an image of mode RGB or L, strip by strip."""
    shape = (image.height, image.width, 3) if image.mode == "RGB" else (image.height, image.width)
    n_rows = max(1, STRIP_BYTES // (3 * image.width))
    limit = Image.MAX_IMAGE_PIXELS  # Pillow holds a part of an image to it, too
    if limit is not None and n_rows * image.width > limit:
        return np.array(image)
    pixels = np.empty(shape, np.uint8)
    for top in range(0, image.height, n_rows):
        bottom = min(top + n_rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _notes(image: Image.Image) -> tuple[str, ...]:
    """What is lost, found before the image is decoded."""
    notes = []
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1 and image.format != "MPO":  # whose other pictures are previews
        notes.append(f"only the first of {n_frames} frames is used")
    if image.mode.startswith("I;16") or any("16" in str(args) for *_, args in getattr(image, "tile", ())):
        notes.append("16 bits a channel are reduced to 8")
    return tuple(notes)


_limit_lock = threading.Lock()


@contextmanager
def _no_limit_of_pillows() -> Iterator[None]:
    """Pillow's limit is the process's and the wrong one here."""
    with _limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
