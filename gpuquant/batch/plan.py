"""The plan of a batch job: the files that it reads, and where each result goes."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image

from gpuquant.batch.passed_over import passed_over_words
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.heif import register
from gpuquant.images.note import read_options
from gpuquant.images.registry import results_by_ending

NOT_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # which Pillow knows, but does not decode by itself
MAX_NAMED = 5  # of the places looked at, in a message


@dataclass(frozen=True)
class PlannedFile:
    """A file to read, and where its result goes."""

    source: Path
    target: Path


@dataclass(frozen=True, eq=False)
class Plan:
    """The files to read, and how many others the folders have."""

    files: list[PlannedFile]
    passed_over: dict[str, int]  # by ending, in lower case with its dot; "" where there is none
    results_passed_over: int  # of earlier runs


def plan_files(
    paths: Sequence[str | Path],
    output: str | Path | None,
    *,
    recursive: bool = False,
    ending: str = ".png",
    suffix: str = "",
) -> Plan:
    """Every image that the paths lead to, once, each with a target of its own.

    The same files give the same plan, so that a job that is taken up again finds its results.

    Parameters
    ----------
    paths : sequence of str or Path
        A file is taken whatever its ending, and so is what does not exist or cannot be listed: reading it says so. A
        folder gives its files with an ending that Pillow reads, in the order of their names, without hidden ones, and
        without those that say that gpuquant wrote them.
    output : str, Path or None
        The folder for the results, in the tree of their sources; with several folders, under the name of each. What
        lies in it is not read, unless it is named as a file, or there is a suffix. None stands for the folder of each
        source, and needs a suffix.
    recursive : bool, default False
        Whether sub-folders are read, too, after the files beside them; hidden and symlinked ones are not.
    ending : str, default ".png"
        The ending of all targets. Sources that differ in nothing but their ending keep it (a.jpg.png, a.tif.png), and
        what is still the same, in upper or lower case, is numbered (a-2.png).
    suffix : str, default ""
        The end of all targets' names before their ending. A file with such a name is taken for a result, too, where
        a photo that would have it lies beside it.

    Raises
    ------
    ArgumentError
        There is nothing to read, or the ending is not one.
    """
    if ending in ("", ".") or Path(f"a{ending}").suffix != ending:
        raise ArgumentError(f"ending={ending!r} is not the ending of a file; use one such as '.png'")
    assert suffix or output is not None, "a target would have the place of its source"
    given = [Path(path) for path in paths]
    closed = "" if output is None or suffix else os.path.realpath(output)
    folders = {path: os.path.realpath(path) for path in given if holds(path.is_dir)}
    several = len(set(folders.values())) > 1
    found: dict[str, tuple[Path, str]] = {}  # path in its resolved folder -> source, place in the tree of targets
    others: set[str] = set()
    results: set[str] = set()
    more_below = False
    for path in given:
        if path not in folders:
            found.setdefault(f"{os.path.realpath(path.parent)}/{path.name}", (path, path.name))
            continue
        name = Path(folders[path]).name
        prefix = f"{name}/" if several and name else ""
        inside = _listed(folders[path], closed, recursive, suffix)
        more_below |= inside.has_folders
        results |= {f"{folders[path]}/{place}" for place in inside.results}
        others |= {f"{folders[path]}/{place}" for place in inside.others}
        for place in inside.images:
            found.setdefault(f"{folders[path]}/{place}", (path / place, prefix + place))
    passed_over = dict(Counter(map(_ending_of, others - set(found))).most_common())
    n_results = len(results - set(found))
    if not found:
        raise _nothing_found(folders, closed, passed_over, n_results, more_below and not recursive)
    sources = [source for source, _ in found.values()]
    if output is None:
        names = [target.rpartition("/")[2] for target in _targets(list(found), suffix + ending)]
        targets = [source.parent / name for source, name in zip(sources, names, strict=True)]
    else:
        targets = [Path(output, target) for target in _targets([place for _, place in found.values()], suffix + ending)]
    return Plan([PlannedFile(*pair) for pair in zip(sources, targets, strict=True)], passed_over, n_results)


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


@dataclass(eq=False)
class _Listing:
    """Contents of a folder, relative to it."""

    images: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    has_folders: bool = False


def _listed(top: str, closed: str, recursive: bool, suffix: str) -> _Listing:
    """The images of a resolved folder, but those of a closed one; and results and other files."""
    found = _Listing()
    endings = _endings()
    waiting = [] if _is_inside(top, closed) else [(top, "")]
    while waiting:
        folder, place = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            found.images.append(place.rstrip("/") or ".")  # reading it fails, which is told as of any other
            continue
        below = []
        named = {entry.name for entry in entries if _ending_of(entry.name) in endings} if suffix else set()
        photos = named | set(map(_without_ending, named))
        for entry in entries:
            if _is_folder(entry):
                if entry.path != closed:
                    below.append((entry.path, f"{place}{entry.name}/"))
            elif not holds(entry.is_file) or _leads_into(entry, closed):
                continue
            elif _ending_of(entry.name) not in endings:
                found.others.append(place + entry.name)
            elif _is_result(entry, suffix, photos):
                found.results.append(place + entry.name)
            else:
                found.images.append(place + entry.name)
        found.has_folders |= bool(below)
        if recursive:
            waiting += reversed(below)
    return found


def _is_result(
    entry: os.DirEntry[str],
    suffix: str,
    photos: set[str],  # names of images beside it, with and without their endings
) -> bool:
    ending = _ending_of(entry.name)
    if ending not in results_by_ending():
        return False
    name = entry.name[: -len(ending)]
    return (name.endswith(suffix) and name.removesuffix(suffix) in photos) or read_options(entry.path) is not None


def _targets(places: list[str], tail: str) -> list[str]:
    """Choose places for the results. They differ even without regard to case, and none is that of a folder."""
    replaced = [_without_ending(place) + tail for place in places]
    taken = _folders_of(places)
    sharing = Counter(target.casefold() for target in replaced) + Counter(taken)
    targets = [
        target if sharing[target.casefold()] == 1 else place + tail
        for place, target in zip(places, replaced, strict=True)
    ]
    later = []
    for index, target in enumerate(targets):
        if target.casefold() in taken:
            later.append(index)
        taken.add(target.casefold())
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    for index in later:  # last, so that no number takes the name of another file
        start = targets[index].removesuffix(tail)
        numbered = (f"{start}-{number}{tail}" for number in numbers[start.casefold()])
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


def _nothing_found(
    folders: dict[Path, str], closed: str, passed_over: dict[str, int], n_results: int, more_below: bool
) -> ArgumentError:
    if not folders:
        return ArgumentError("no files or folders are given")
    names = [str(path) for path in folders]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    message = f"there are no image files to read in {', '.join(names[:MAX_NAMED])}{more}"
    if passed_over or n_results:
        message += f"; {passed_over_words(passed_over, n_results)}"
    if any(_is_inside(folder, closed) for folder in folders.values()):
        message += "; what lies in the output folder is not read"
    if n_results:
        message += "; results are read where they are named as files"
    if more_below:
        message += "; sub-folders are read with recursive=True (--recursive)"
    return ArgumentError(message)


def _ending_of(path: str) -> str:
    """The ending of a name, with its dot, in lower case; "" where there is none."""
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    return dot + ending.lower() if dot and ending else ""


def _endings() -> set[str]:
    register()
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
    return folder != "" and Path(path).is_relative_to(folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return holds(lambda: entry.is_dir(follow_symlinks=False))


def holds(check: Callable[[], bool]) -> bool:
    """Make a check of a path; False where the system refuses to answer."""
    try:
        return check()
    except (OSError, ValueError):  # too long a name, a folder that cannot be entered, a symlink to itself
        return False
