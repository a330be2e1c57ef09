"""Which files a batch job reads, and where each result goes."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from PIL import Image

from gpuquant.errors import ArgumentError, ImageFileError

NOT_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # which Pillow knows, but does not decode by itself
MAX_NAMED = 5  # of the places looked at, in a message


@dataclass(frozen=True)
class PlannedFile:
    """A file to read, and where its result goes."""

    source: Path
    target: Path


def plan_files(
    paths: Sequence[str | Path], output: str | Path, *, recursive: bool = False, suffix: str = ".png"
) -> list[PlannedFile]:
    """Every image that the paths lead to, once, each with a target of its own inside `output`.

    The same files give the same plan, so that a job that is taken up again finds its results.

    Parameters
    ----------
    paths : sequence of str or Path
        A file is taken whatever its ending, and so is what does not exist or cannot be listed: reading it says so. A
        folder gives its files with an ending that Pillow reads, without hidden ones, in the order of their names.
    output : str or Path
        The folder for the results, in the tree of their sources; with several folders, under the name of each. What
        lies in it is not read, unless it is named as a file.
    recursive : bool, default False
        Whether sub-folders are read, too, after the files beside them; hidden and symlinked ones are not.
    suffix : str, default ".png"
        The ending of all targets. Sources that differ in nothing but their ending keep it (a.jpg.png, a.tif.png), and
        what is still the same, in upper or lower case, is numbered (a-2.png).

    Raises
    ------
    ArgumentError
        There is nothing to read, or the suffix is not one.
    """
    if suffix in ("", ".") or Path(f"a{suffix}").suffix != suffix:
        raise ArgumentError(f"suffix={suffix!r} is not the ending of a file; use one such as '.png'")
    given = [Path(path) for path in paths]
    output_folder = os.path.realpath(output)
    folders = {path: os.path.realpath(path) for path in given if holds(path.is_dir)}
    several = len(set(folders.values())) > 1
    found: dict[str, tuple[Path, str]] = {}  # path in its resolved folder -> source, place in the tree of targets
    more_below = False
    for path in given:
        if path not in folders:
            found.setdefault(f"{os.path.realpath(path.parent)}/{path.name}", (path, path.name))
            continue
        name = Path(folders[path]).name
        prefix = f"{name}/" if several and name else ""
        inside, has_folders = _files_in(folders[path], output_folder, recursive)
        more_below |= has_folders
        for place in inside:
            found.setdefault(f"{folders[path]}/{place}", (path / place, prefix + place))
    if not found:
        raise _nothing_found(folders, output_folder, more_below and not recursive)
    targets = _targets([place for _, place in found.values()], suffix)
    return [
        PlannedFile(source, Path(output, target)) for (source, _), target in zip(found.values(), targets, strict=True)
    ]


def check_inside(target: Path, output: Path) -> None:
    """Refuse a target that symlinks lead out of the output folder.

    Raises
    ------
    ImageFileError
        The target's folder, with all symlinks resolved, does not lie in the output folder.
    """
    folder = os.path.realpath(target.parent)
    if not _is_inside(folder, os.path.realpath(output)):
        raise ImageFileError(f"{target} is not written: it would go to {folder}, which is outside {output}")


def _files_in(top: str, output_folder: str, recursive: bool) -> tuple[list[str], bool]:
    """The images of a resolved folder, relative to it, and whether it has sub-folders."""
    files: list[str] = []
    has_folders = False
    endings = _endings()
    waiting = [] if _is_inside(top, output_folder) else [(top, "")]
    while waiting:
        folder, place = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            files.append(place.rstrip("/") or ".")  # reading it fails, which is told as of any other
            continue
        below = []
        for entry in entries:
            _, dot, ending = entry.name.rpartition(".")
            if _is_folder(entry):
                if entry.path != output_folder:
                    below.append((entry.path, f"{place}{entry.name}/"))
            elif dot + ending.lower() in endings and holds(entry.is_file) and not _leads_into(entry, output_folder):
                files.append(place + entry.name)
        has_folders |= bool(below)
        if recursive:
            waiting += reversed(below)
    return files, has_folders


def _targets(places: list[str], suffix: str) -> list[str]:
    """Where the results go, all different even where upper and lower case are the same, and none where a folder is."""
    replaced = [_without_ending(place) + suffix for place in places]
    taken = _folders_of(places)
    sharing = Counter(target.casefold() for target in replaced) + Counter(taken)
    targets = [
        target if sharing[target.casefold()] == 1 else place + suffix
        for place, target in zip(places, replaced, strict=True)
    ]
    later = []
    for index, target in enumerate(targets):
        if target.casefold() in taken:
            later.append(index)
        taken.add(target.casefold())
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    for index in later:  # last, so that no number takes the name of another file
        start = targets[index].removesuffix(suffix)
        numbered = (f"{start}-{number}{suffix}" for number in numbers[start.casefold()])
        targets[index] = next(target for target in numbered if target.casefold() not in taken)
    return targets


def _without_ending(place: str) -> str:
    folder, slash, name = place.rpartition("/")
    start, dot, _ = name.rpartition(".")
    return folder + slash + (start if dot and start else name)


def _folders_of(places: list[str]) -> set[str]:
    """All folders that the places need, case-folded."""
    folders: set[str] = set()
    for folder in {place.rpartition("/")[0].casefold() for place in places}:
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _nothing_found(folders: dict[Path, str], output_folder: str, more_below: bool) -> ArgumentError:
    if not folders:
        return ArgumentError("no files or folders are given")
    names = [str(path) for path in folders]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    message = f"there are no image files to read in {', '.join(names[:MAX_NAMED])}{more}"
    if any(_is_inside(folder, output_folder) for folder in folders.values()):
        message += "; what lies in the output folder is not read"
    if more_below:
        message += "; sub-folders are read with recursive=True (--recursive)"
    return ArgumentError(message)


def _endings() -> set[str]:
    Image.init()
    read_as = {"MPO": "JPEG"}
    return {
        ending
        for ending, name in Image.registered_extensions().items()
        if read_as.get(name, name) in Image.OPEN and name not in NOT_PHOTOS
    }


def _leads_into(entry: os.DirEntry[str], folder: str) -> bool:
    return entry.is_symlink() and _is_inside(os.path.realpath(entry.path), folder)


def _is_inside(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return holds(lambda: entry.is_dir(follow_symlinks=False))


def holds(check: Callable[[], bool]) -> bool:
    """A check of a path; False where the system refuses to answer."""
    try:
        return check()
    except (OSError, ValueError):  # too long a name, a folder that cannot be entered, a symlink to itself
        return False
