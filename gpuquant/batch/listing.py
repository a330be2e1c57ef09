"""Contents of a folder: the photos in it, results of earlier runs, and other files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images.heif import register
from gpuquant.images.note import read_options
from gpuquant.images.registry import results_by_ending
from gpuquant.locations import Place, Tree, for_each, holds, tree_of
from gpuquant.report.folder import FILES

NOT_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # which Pillow knows, but does not decode by itself


@dataclass(eq=False)
class Listing:
    """Contents of a folder, relative to it."""

    tree: Tree
    images: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unread: dict[str, ImageFileError] = field(default_factory=dict)  # images that may be results: nobody knows


def contents_of(folder: Place, closed: str, *, recursive: bool, suffix: str) -> Listing:
    """List what lies in a folder, but in one whose identity is `closed`; in the order in which people list trees.

    A folder that cannot be listed is among the images: reading it fails, which is told as of any other.

    Raises
    ------
    ImageFileError
        A URL cannot be listed.
    """
    tree = tree_of(folder, recursive=recursive, but=FILES, closed=closed)
    found, endings = Listing(tree), photo_endings()
    images = [place for place in tree.files if ending_of(place) in endings or place in tree.unlisted]
    found.others = tree.unreachable + sorted(set(tree.files) - set(images))
    named = _named_as_results(images, suffix, endings) if suffix else set()
    known = named | tree.unlisted
    maybe = {
        tree.at(place): place for place in images if place not in known and ending_of(place) in results_by_ending()
    }
    noted = {maybe[one]: has_note for one, has_note in for_each(_has_note, maybe)}
    for place in images:
        is_result = True if place in named else noted.get(place, False)
        (found.results if is_result is True else found.images).append(place)
        if isinstance(is_result, ImageFileError):
            found.unread[place] = is_result
    return found


def is_folder(place: Place) -> bool:
    """True of a folder. At URLs a name with a photo's ending is that of a photo, unless a slash follows it."""
    if isinstance(place, Path):
        return holds(place.is_dir)
    return (place.ends_with_slash or ending_of(place.name) not in photo_endings()) and place.is_folder()


def _has_note(place: Place) -> bool | ImageFileError:
    """True of a file that says that gpuquant wrote it; or why nobody knows."""
    try:
        return read_options(place) is not None
    except ImageFileError as error:
        return error


def _named_as_results(images: list[str], suffix: str, endings: set[str]) -> set[str]:
    """Images that are called as the result of one beside them would be."""
    by_folder: dict[str, list[str]] = {}
    for place in images:
        folder, slash, name = place.rpartition("/")
        by_folder.setdefault(folder + slash, []).append(name)
    found = set()
    for folder, names in by_folder.items():
        photos = _photos_among(names, endings)
        found |= {folder + name for name in names if _is_named_as_result(name, suffix, photos)}
    return found


def _photos_among(names: Iterable[str], endings: set[str]) -> set[str]:
    """Names of images, with and without their endings."""
    named = {name for name in names if ending_of(name) in endings}
    return named | set(map(without_ending, named))


def _is_named_as_result(
    name: str,
    suffix: str,
    photos: set[str],  # names of images beside it, with and without their endings
) -> bool:
    ending = ending_of(name)
    if not suffix or ending not in results_by_ending():
        return False
    start = name[: -len(ending)]
    return start.endswith(suffix) and start.removesuffix(suffix) in photos


def without_ending(place: str) -> str:
    """A place without the ending of its name."""
    folder, slash, name = place.rpartition("/")
    start, dot, _ = name.rpartition(".")
    return folder + slash + (start if dot and start else name)


def ending_of(path: str) -> str:
    """The ending of a name, with its dot, in lower case; "" where there is none."""
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    return dot + ending.lower() if dot and ending else ""


def photo_endings() -> set[str]:
    """The endings of files that are read as photos."""
    register()
    Image.init()
    read_as = {"MPO": "JPEG"}
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if read_as.get(name, name) in Image.OPEN and name not in NOT_PHOTOS
    }
