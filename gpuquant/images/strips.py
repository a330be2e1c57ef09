"""A photo as strips of rows, in order and as often as asked: photos larger than memory are read this way."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gpuquant.arguments import MAX_PIXELS
from gpuquant.errors import size_in_words
from gpuquant.images import vips
from gpuquant.images.array_strips import is_array_file, mapped_array, strips_of_array
from gpuquant.images.reading import Photo, read_photo, read_size
from gpuquant.images.room import NoRoomError, enough_for
from gpuquant.images.samples import Pixels
from gpuquant.images.sources import ImageSource, Source, as_source, told
from gpuquant.images.strip_head import FORMATS, Head, read_head
from gpuquant.images.strip_passes import Passes
from gpuquant.images.turned import TURNS, InMemory

STRIP_PIXELS = 1 << 21  # of a strip where no number of rows is asked for: 6 MB of RGB, which stay in a core's cache
SMALL = 1 << 22  # pixels of a photo that is read whole where it fits: from about there on libvips takes less time
UNTURNED = {6: 8, 8: 6}  # what undoes a turn; the others undo themselves
CONVERT = (
    "or make a tiled TIFF of it first, for example with: vips tiffsave PHOTO photo.tif --tile --compression deflate"
)


@dataclass(frozen=True, eq=False)
class StripPhoto:
    """A photo whose pixels come in strips, and what to know about them: beside that it is as `Photo` is.

    A file with an alpha channel that is decoded in strips has 4 channels even if all of it is opaque, which nobody
    knows before a whole pass: the counted colors tell. Read whole, as small ones are, it then has no alpha.
    """

    shape: tuple[int, int]  # height and width, upright
    n_channels: int  # 1, gray; 3; or 4 with alpha
    read: Callable[[int], Iterator[Pixels]]  # strips of so many rows, but the last one
    how: str  # where the pixels come from, and where they stay
    to_srgb: Callable[[Pixels], Pixels] | None = None  # for stored colors [M, 3], where a profile gives them a meaning
    icc_profile: bytes | None = None  # that profile
    other_profile: bool = False  # whether another one was applied: of gray, CMYK or Lab
    notes_so_far: Callable[[], tuple[str, ...]] = tuple

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what was lost in reading: more may be known after the first pass."""
        return self.notes_so_far()

    def strips(self, rows: int | None = None) -> Iterator[Pixels]:  # uint8 [h, W, 3], [h, W, 4] or [h, W]
        """All rows in order, `rows` at a time; each call begins anew. A strip is not to be written to.

        Raises
        ------
        ImageFileError
            The file is damaged, which may come out only at its last strip, or there is no room for a temporary file.
        """
        return self.read(rows or max(1, STRIP_PIXELS // self.shape[1]))


def photo_size(source: ImageSource | Source, max_pixels: int) -> tuple[int, int]:
    """Width and height as stored, without decoding.

    Raises
    ------
    ImageFileError
        As `read_size` raises it, or of an array in a file.
    """
    given = as_source(source)
    if given.path is None or not is_array_file(given.path):
        return read_size(given, max_pixels=max_pixels)
    with told(given):
        image = mapped_array(given.path, max_pixels)
    return image.shape[1], image.shape[0]


@contextmanager
def open_strips(
    source: ImageSource | Source,
    *,
    budget: int,  # bytes for pixels that are kept
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    folder: str | Path | None = None,  # of temporary files; the system's by default
    whole: int | None = None,  # bytes for a photo that can only be read whole, or for its decoder
    once: bool = False,  # for one pass, over the rows as they are stored: nothing is kept, nor turned
    turned: Callable[[float], None] | None = None,  # is told the share that is turned, before the first strip
) -> Iterator[StripPhoto]:
    """A photo as strips, as long as the context lasts: then its decoders and temporary files are closed.

    Also an array in a file of NumPy's (.npy) is a photo here: it is mapped into memory.

    Raises
    ------
    ImageFileError
        As `read_photo` raises it; or the photo can only be decoded as a whole, and does not fit the budget.
    """
    given = as_source(source)
    read_whole = partial(read_photo, given, max_pixels=max_pixels, preview=preview)
    with ExitStack() as stack:
        if given.path is not None and is_array_file(given.path):
            with told(given):
                image = mapped_array(given.path, max_pixels)
            yield _photo_of_array(given, image)
            return
        head = read_head(given, max_pixels=max_pixels, preview=preview)
        most = budget if whole is None else whole
        if head.size[0] * head.size[1] <= SMALL and head.n_bytes <= most:
            yield _whole(read_whole())
            return
        why_whole, size = _why_whole(given, head)
        if size is None and head.n_bytes <= most:
            yield _whole(read_whole())
        elif size is None:
            raise NoRoomError(f"{given.name}: {_too_much(why_whole, head.n_bytes, most)}")
        elif head.n_held > most:
            held = f"{_named(head)} whose decoder holds more than some rows"
            raise NoRoomError(f"{given.name}: {_too_much(held, head.n_held, most)}")
        else:
            by_pillow: Callable[[], Photo] | None = read_whole if head.n_bytes <= most else None
            if once:
                by_pillow = by_pillow and partial(_as_stored, read_whole, head.orientation)
                head, budget = replace(head, orientation=1), 0
            passes = Passes(given, head, size, budget, folder, by_pillow, turned)
            stack.callback(passes.close)
            assert head.rendering is not None
            found = head.rendering
            yield StripPhoto(
                (passes.shape[0], passes.shape[1]),
                passes.shape[2] if len(passes.shape) == 3 else 1,
                passes.read,
                passes.how,
                found.to_srgb,
                found.icc_profile,
                found.other_profile,
                lambda: passes.notes,
            )


def support() -> str:
    """Say what decodes photos in strips, and which."""
    pyvips = vips.library()
    if pyvips is None:
        return f".npy is read in strips, all else whole; {vips.why_not()}"
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    formats = ", ".join(dict.fromkeys(FORMATS.values()))
    return f"{formats} and .npy are read in strips (pyvips {pyvips.__version__}, libvips {version})"


def _named(head: Head) -> str:
    return f"a {head.image_format}"


def _too_much(what: str, n_bytes: int, budget: int) -> str:
    sizes = f"it takes {size_in_words(n_bytes)} of memory, more than the {size_in_words(budget)} that it may take"
    if vips.library() is None and what == vips.why_not():
        return f"as a whole {sizes}; {what}"
    return f"{what} cannot be read in strips: {sizes}; give more with {enough_for(n_bytes)}, {CONVERT}"


def _why_whole(source: Source, head: Head) -> tuple[str, vips.Size | None]:
    """Why a photo cannot be decoded in strips; or the size of one that can."""
    if head.only_whole:
        return head.only_whole, None
    if vips.library() is None:
        return vips.why_not(), None
    try:
        size = vips.size_of(source, head.image_format)
    except vips.DecodingError:
        return f"{_named(head)} that is damaged, or of a kind that libvips does not read,", None
    n_colors = {"RGB": (1, 3), "CMYK": (4,)}.get(head.mode, (1,))  # one of RGB where a palette holds grays alone
    n_bits = head.levels.n_bits if head.levels else 8
    is_wide = size.dtype == np.uint16
    same = size.n_bands - head.has_alpha in n_colors and {size.width, size.height} == {*head.size}
    if not same or (is_wide and n_bits != 16) or (head.mode == "I;16" and not is_wide):
        return f"{_named(head)} of a kind that libvips reads differently", None
    return "", size


def _whole(photo: Photo) -> StripPhoto:
    pixels = photo.pixels
    n_channels = pixels.shape[2] if pixels.ndim == 3 else 1
    about = photo.to_srgb, photo.icc_profile, photo.other_profile, lambda: photo.notes
    read = InMemory(pixels.shape, 1, pixels).read
    return StripPhoto((pixels.shape[0], pixels.shape[1]), n_channels, read, "read whole", *about)


def _as_stored(read_whole: Callable[[], Photo], orientation: int) -> Photo:
    photo = read_whole()
    return replace(photo, pixels=TURNS[UNTURNED.get(orientation, orientation)](photo.pixels))


def _photo_of_array(source: Source, image: np.ndarray) -> StripPhoto:
    def read(n_rows: int) -> Iterator[Pixels]:
        with told(source):
            yield from strips_of_array(image, n_rows)

    n_channels = image.shape[2] if image.ndim == 3 else 1
    return StripPhoto((image.shape[0], image.shape[1]), n_channels, read, "mapped into memory")
