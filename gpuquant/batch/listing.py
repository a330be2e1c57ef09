"""Contents of a folder: the photos in it, results of earlier runs, and other files."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images.heif import register
from gpuquant.images.note import read_options
from gpuquant.images.registry import results_by_ending
from gpuquant.locations import Location, Place, for_each, holds, is_below, is_inside
from gpuquant.report.folder import FILES

NOT_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # which Pillow knows, but does not decode by itself


@dataclass(eq=False)
class Listing:
    """Contents of a folder, relative to it."""

    images: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    has_folders: bool = False
    sizes: dict[str, int | None] = field(default_factory=dict)  # bytes of images at URLs
    unread: dict[str, ImageFileError] = field(default_factory=dict)  # images that may be results: nobody knows


def contents_of(folder: Place, top: str, closed: str, *, recursive: bool, suffix: str) -> Listing:
    """What lies in a folder whose identity is `top`, but in a closed one; in the order in which people list trees.

    Raises
    ------
    ImageFileError
        A URL cannot be listed.
    """
    if isinstance(folder, Location):
        return _at_url(folder, top, closed, recursive, suffix)
    return _on_disk(top, closed, recursive, suffix)


def is_folder(place: Place) -> bool:
    """True of a folder. At URLs a name with a photo's ending is that of a photo, unless a slash follows it."""
    if isinstance(place, Path):
        return holds(place.is_dir)
    return (place.ends_with_slash or ending_of(place.name) not in photo_endings()) and place.is_folder()


def _on_disk(top: str, closed: str, recursive: bool, suffix: str) -> Listing:
    found = Listing()
    endings = photo_endings()
    waiting = [] if is_inside(top, closed) else [(top, "")]
    while waiting:
        folder, place = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            found.images.append(place.rstrip("/") or ".")  # reading it fails, which is told as of any other
            continue
        below = []
        photos = _photos_among([entry.name for entry in entries], endings) if suffix else set()
        for entry in entries:
            if _is_folder(entry):
                if entry.path != closed and entry.name != FILES:
                    below.append((entry.path, f"{place}{entry.name}/"))
            elif not holds(entry.is_file) or _leads_into(entry, closed):
                continue
            elif ending_of(entry.name) not in endings:
                found.others.append(place + entry.name)
            elif _is_named_as_result(entry.name, suffix, photos):
                found.results.append(place + entry.name)
            else:
                may_be_one = ending_of(entry.name) in results_by_ending()
                _add(found, place + entry.name, may_be_one and _has_note(Path(entry.path)))
        found.has_folders |= bool(below)
        if recursive:
            waiting += reversed(below)
    return found


def _at_url(folder: Location, top: str, closed: str, recursive: bool, suffix: str) -> Listing:
    """Contents by one listing. Keys that no path below a folder has are other files: with "//" or ".." in them."""
    found, endings = Listing(), photo_endings()
    by_folder: dict[str, list[str]] = {}
    for place, n_bytes in [] if is_inside(top, closed) else folder.listed(recursive=recursive):
        parts = place.split("/")
        if closed and is_inside(f"{top}/{place}", closed):
            continue
        if place.endswith("/"):
            found.has_folders |= parts[0][:1] != "."
        elif not is_below(place):
            found.others.append(place)
        elif any(part[0] == "." or part == FILES for part in parts):
            continue
        elif ending_of(place) not in endings:
            found.others.append(place)
        else:
            found.sizes[place] = n_bytes
            by_folder.setdefault(place.rpartition("/")[0], []).append(parts[-1])
    named = set()
    for above, names in by_folder.items() if suffix else ():
        photos = _photos_among(names, endings)
        named |= {f"{above}/{name}".lstrip("/") for name in names if _is_named_as_result(name, suffix, photos)}
    maybe = {
        folder.at(place, found.sizes[place]): place
        for place in found.sizes
        if place not in named and ending_of(place) in results_by_ending()
    }
    noted = {maybe[one]: has_note for one, has_note in for_each(_has_note, maybe)}  # type: ignore[index]
    for place in sorted(found.sizes, key=_order):
        _add(found, place, place in named or noted.get(place, False))
    return found


def _has_note(place: Place) -> bool | ImageFileError:
    """True of a file that says that gpuquant wrote it; or why nobody knows."""
    try:
        return read_options(place) is not None
    except ImageFileError as error:
        return error


def _add(found: Listing, place: str, is_result: bool | ImageFileError) -> None:
    (found.results if is_result is True else found.images).append(place)
    if isinstance(is_result, ImageFileError):
        found.unread[place] = is_result


def _order(place: str) -> list[tuple[bool, str]]:
    """Sort files by their names, and after them the folders beside them."""
    *folders, name = place.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


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


def _leads_into(entry: os.DirEntry[str], folder: str) -> bool:
    return entry.is_symlink() and is_inside(os.path.realpath(entry.path), folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return holds(lambda: entry.is_dir(follow_symlinks=False))
