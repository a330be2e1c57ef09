"""Reading image files: whole, upright, in sRGB, in 8 bits."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gpuquant.arguments import MAX_PIXELS
from gpuquant.errors import ArgumentError
from gpuquant.images.alpha import alpha_of, has_alpha, settled, with_clear_color, without_alpha
from gpuquant.images.avif import without_exif
from gpuquant.images.colors import Said, colors_of_file, colors_of_info, colors_of_png
from gpuquant.images.conversion import UNUSABLE
from gpuquant.images.guard import Reading, check_size, pillow_guarded
from gpuquant.images.heif import kind_of, notes_on, register
from gpuquant.images.jpeg import without_short_segments
from gpuquant.images.png import damaged_metadata, read_png, without_metadata
from gpuquant.images.raw import begins_with_preview, is_raw_photo
from gpuquant.images.rendering import GRAY_MODES, rendering_of
from gpuquant.images.samples import COLOR_MAP, Pixels, Range, mend_palette, range_of
from gpuquant.images.sources import ImageSource, Source, as_source, told
from gpuquant.images.turning import ORIENTATION, SIDEWAYS, orientation_of, upright
from gpuquant.images.words import notes_of, words_of

MOST_COPIED = 1 << 30  # bytes of a file that are copied into memory, so that damaged metadata can be left out
KNOWN_MODES = {"RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16L", "I;16B", "I"}
KNOWN_MODES |= {"RGBA", "LA", "PA", "RGBa", "La"}
WITHOUT_RGB = ("CMYK", "LAB", "YCbCr", "HSV")  # which nobody takes for sRGB
DEVELOP = "develop it first, into a TIFF or JPEG for example, or take the preview with preview=True (--preview)"

Found = TypeVar("Found")


class _UndecodableError(ArgumentError):
    """Pillow cannot decode an image."""


@dataclass(frozen=True, eq=False)
class Photo:
    """Pixels, and what to know about them."""

    pixels: Pixels  # [H, W, 3], [H, W, 4] with alpha (then not all opaque), or gray [H, W]
    to_srgb: Callable[[Pixels], Pixels] | None = None  # for stored colors [M, 3], where a profile gives them a meaning
    icc_profile: bytes | None = None  # that profile
    other_profile: bool = False  # whether another one was applied: of gray, CMYK or Lab
    notes: tuple[str, ...] = ()  # what was lost in reading

    def in_srgb(self) -> Pixels:
        """The pixels as they look."""
        if self.to_srgb is None:
            return self.pixels
        converted = np.stack([self.to_srgb(row[:, :3]) for row in self.pixels])
        return np.concatenate([converted, self.pixels[:, :, 3:]], axis=2)


def read_size(source: ImageSource | Source, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as stored, without decoding.

    Raises
    ------
    ImageFileError
        There is no such file, it has more than `max_pixels`, or it is not an image.
    """
    return with_image(source, max_pixels, lambda image, *_: (image.width, image.height))


def read_photo(
    source: ImageSource | Source,
    *,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    check: Callable[[tuple[int, int]], None] | None = None,  # raises, given width and height, before it is decoded
) -> Photo:
    """Decode a file to upright pixels (EXIF orientation applied).

    RGB pixels stay as stored, with the conversion of their embedded profile to sRGB beside them: there are fewer
    distinct colors than pixels. All other kinds are converted.

    Raises
    ------
    ImageFileError
        There is no such file, it has more than `max_pixels`, it is not a whole image of a kind that is supported, or
        only a preview of it can be read (of a raw photo, or of a TIFF that begins with a smaller copy of its picture)
        and `preview` does not ask for that.
    """

    def read(image: Image.Image, file: BinaryIO, reading: Reading, lost: tuple[str, ...]) -> Photo:
        if check:
            check(image.size)
        notes = lost + notes_on_preview(image, file, preview) + notes_on(image, file)
        photo = _photo_of(image, file, max_pixels)
        said = notes_of(reading.said, is_tiff=image.format == "TIFF", damaged=reading.damaged)
        return replace(photo, notes=(*dict.fromkeys(notes + photo.notes + said),))

    return with_image(source, max_pixels, read)


def photo_of(image: Image.Image) -> Photo:
    """The photo that a Pillow image holds, upright; the image stays as it is, but that its pixels are then loaded.

    Raises
    ------
    ArgumentError
        The image is empty, cannot be decoded, or is of a mode that is not supported.
    """
    with pillow_guarded(None) as reading:
        photo = _photo_of(image, None, None)
        said = notes_of(reading.said, is_tiff=image.format == "TIFF", damaged=reading.damaged)
        return replace(photo, notes=photo.notes + said)


def with_image(
    given: ImageSource | Source,
    max_pixels: int,
    work: Callable[[Image.Image, BinaryIO, Reading, tuple[str, ...]], Found],
) -> Found:
    """Do work on an image whose pixels are not decoded yet."""

    def attempt(pillows: Path | BinaryIO, file: BinaryIO, lost: tuple[str, ...]) -> Found:
        reading.said.clear()
        reading.damaged = False
        with Image.open(pillows) as image:
            check_size(image.size, max_pixels)
            return work(image, file, reading, lost)

    source = as_source(given)
    with told(source), pillow_guarded(max_pixels) as reading, source.open() as file:
        if kind_of(file) == "HEIC":
            register()
        try:
            with source.for_pillow() as pillows:
                return attempt(pillows, file, ())
        except Exception as error:
            if _is_final(error) or (isinstance(error, UnidentifiedImageError) and is_raw_photo(file)):
                raise
            for copy, note in _without_metadata(file, max_pixels):
                try:  # metadata never cost the picture
                    return attempt(copy, copy, (note,))
                except Exception as second:
                    raise (second if _is_final(second) else error) from None
            raise


def _is_final(error: Exception) -> bool:
    """True of an error that another attempt would not mend: of ours, or for want of memory."""
    return isinstance(error, ArgumentError | MemoryError) and not isinstance(error, _UndecodableError)


def _without_metadata(file: BinaryIO, max_pixels: int) -> Iterator[tuple[BinaryIO, str]]:
    """A copy of a file that Pillow cannot read, without what may be the reason, and a note; if there is any.

    Raises
    ------
    TooLargeError
        It is a PNG with more pixels than are allowed; of other formats Pillow knows the size when it reads the copy.
    """
    if file.seek(0, io.SEEK_END) > MOST_COPIED:
        return
    names = damaged_metadata(file)  # nothing is copied where there are none
    if names:
        header = read_png(file)
        if header is not None:
            check_size(header.size, max_pixels)
        left_out = ", ".join(dict.fromkeys(name.decode("ascii") for name in names.values()))
        yield without_metadata(file, names), f"its metadata cannot be read, and are left out: {left_out}"
    avif = without_exif(file)
    if avif is not None:
        yield avif, "the EXIF block cannot be read, and is left out"
    jpeg = without_short_segments(file)
    if jpeg is not None:
        yield jpeg, "some of its metadata cannot be read, and are left out"


def notes_on_preview(image: Image.Image, file: BinaryIO, preview: bool) -> tuple[str, ...]:
    if is_raw_photo(file):
        what = "a raw photo"
    elif image.format == "TIFF" and begins_with_preview(file):
        what = "a file that begins with a smaller copy of its picture"
    else:
        return ()
    size = f"{image.width} x {image.height}"
    if not preview:
        raise ArgumentError(f"this is {what}, of which only a preview of {size} could be read; {DEVELOP}")
    return (f"this is {what}; only its preview of {size} is read",)


def _photo_of(image: Image.Image, file: BinaryIO | None, max_pixels: int | None) -> Photo:
    """The photo of an image, which may be changed if it comes from a file of ours."""
    if 0 in image.size:
        raise ArgumentError(f"the image is empty ({image.width} x {image.height})")
    try:
        if file is not None and not isinstance(image.info.get("xmp", b""), bytes | str):
            del image.info["xmp"]  # numbers in a TIFF, over which Pillow stumbles
        levels, notes, tiles = range_of(image), notes_before_decoding(image), list(getattr(image, "tile", None) or ())
        if levels.n_bits > 8:
            notes += (f"{levels.n_bits} bits a channel are reduced to 8",)
        tags = getattr(image, "tag_v2", {})
        color_map = tags.get(COLOR_MAP)
        if file is not None and tags.get(ORIENTATION) in SIDEWAYS:
            image.filename = ""  # type: ignore[attr-defined]  # Pillow maps such a file as if its rows were columns
        image.load()
        check_size(image.size, max_pixels)  # some formats know it only now
        if image.mode not in KNOWN_MODES:
            advice = 'convert it to 8-bit RGB first (with Pillow, image.convert("RGB"))'
            raise ArgumentError(f"images of mode {image.mode} are not supported; {advice}")
        image_format = image.format
        orientation, more = orientation_of(image)
        notes += more
        if file is None:
            image = image.copy()
            notes += settled(image, tiles) + mend_palette(image, color_map)
            notes += _with_profile(image, colors_of_info(image.info, _exif_of(image), gray=image.mode in GRAY_MODES))
        else:
            notes += mend_palette(image, color_map)
            image, more = as_the_file_says(image, image_format, file)
            notes += more
        photo = _converted(upright(image, orientation), levels)
    except (ArgumentError, MemoryError):
        raise
    except Exception as error:  # never loaded again: a second attempt could pass in silence
        raise _UndecodableError(f"the image cannot be decoded: {words_of(error)}") from None
    return replace(photo, notes=notes + photo.notes)


def as_the_file_says(
    image: Image.Image, image_format: str | None, file: BinaryIO
) -> tuple[Image.Image, tuple[str, ...]]:
    """An image with the transparency and the profile that its file gives it beyond what Pillow reads; notes."""
    profile, gray = image.info.get("icc_profile"), image.mode in GRAY_MODES
    png = read_png(file) if image_format == "PNG" else None
    if png is not None:
        image = with_clear_color(image, png, file)
        said = colors_of_png(png, _exif_of(image), gray=gray)
    elif profile or (image_format == "TIFF" and image.mode in ("CMYK", "LAB")):
        return image, ()
    else:
        said = colors_of_file(image_format, file, _exif_of(image), gray=gray)
    return image, _with_profile(image, said)


def _exif_of(image: Image.Image) -> bytes | None:
    block = image.info.get("exif")
    return block if isinstance(block, bytes) and image.mode not in WITHOUT_RGB else None


def _with_profile(image: Image.Image, said: Said | None) -> tuple[str, ...]:
    """Give an image the profile that was found, unless it has one that holds; notes."""
    if said is None:
        return () if image.info.get("icc_profile") else (UNUSABLE,)
    profile, notes = said
    if profile is not None and image.mode in WITHOUT_RGB and profile[16:20] == b"RGB ":
        return (UNUSABLE,)
    image.info["icc_profile"] = profile
    return notes


def _converted(image: Image.Image, levels: Range) -> Photo:
    if has_alpha(image):
        alpha = alpha_of(image)
        if alpha.min() < 255:
            photo = _opaque(_gray_as_gray(without_alpha(image)), levels)
            colors = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[:, :, None].repeat(3, axis=2)
            return replace(photo, pixels=np.concatenate([colors, alpha[:, :, None]], axis=2))
        image = _gray_as_gray(without_alpha(image))
    return _opaque(image, levels)


def _gray_as_gray(image: Image.Image) -> Image.Image:
    """One channel of three that are equal: gray of 16 bits with alpha comes as RGBA, with a profile for gray."""
    profile = image.info.get("icc_profile")
    if image.mode != "RGB" or not isinstance(profile, bytes) or profile[16:20] != b"GRAY":
        return image
    if any(image.getchannel(0) != image.getchannel(place) for place in (1, 2)):
        return image
    gray = image.getchannel(0)
    gray.info = dict(image.info)
    return gray


def _opaque(image: Image.Image, levels: Range) -> Photo:
    found = rendering_of(image, levels)
    return Photo(found.render(image), found.to_srgb, found.icc_profile, found.other_profile, found.notes)


def notes_before_decoding(image: Image.Image) -> tuple[str, ...]:
    """Find what is lost before the image is decoded."""
    info = dict(image.info)
    try:
        n_frames: Any = getattr(image, "n_frames", 1)
    except Exception:
        if image.format != "TIFF":
            raise
        image._seek(0)  # type: ignore[attr-defined]  # for which seek() sees no need, though tags of others are loaded
        return ("the file is damaged: what follows its first picture cannot be read",)
    finally:
        if image.format == "TIFF":  # whose profile may be that of another frame now
            image.info = info
    if n_frames > 1 and image.format != "MPO":  # whose other pictures are previews
        which = "main one" if image.format == "HEIF" else "first"
        return (f"only the {which} of {n_frames} frames is used",)
    return ()
