"""The plan of a batch job: the files that it reads, and where each result goes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from gpuquant.batch.listing import contents_of, ending_of, is_folder, without_ending
from gpuquant.batch.outcome import reason_of
from gpuquant.batch.passed_over import passed_over_words
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import Location, Place, identity_of, is_inside, joined, place_of

MAX_NAMED = 5  # of the places looked at, in a message


@dataclass(frozen=True)
class PlannedFile:
    """A file to read, and where its result goes."""

    source: Place
    target: Place
    error: str | None = None  # why it cannot be read, where that was found out: it may be a result


@dataclass(frozen=True, eq=False)
class Plan:
    """The files to read, and how many others the folders have."""

    files: list[PlannedFile]
    passed_over: dict[str, int]  # by ending, in lower case with its dot; "" where there is none
    results_passed_over: int  # of earlier runs


def plan_files(
    paths: Sequence[str | Place],
    output: str | Place | None,
    *,
    recursive: bool = False,
    ending: str = ".png",
    suffix: str = "",
) -> Plan:
    """Every image that the paths lead to, once, each with a target of its own.

    The same files give the same plan, so that a job that is taken up again finds its results.

    Parameters
    ----------
    paths : sequence of str, Path or Location
        Paths and URLs. A file is taken whatever its ending, and so is what does not exist or cannot be listed: reading
        it says so. A folder gives its files with an ending that Pillow reads, in the order of their names, without
        hidden ones, and without those that say that gpuquant wrote them, or are thumbnails of a report. A URL is a
        folder if it ends with a slash, or has no ending of a photo and nothing but files below it.
    output : str, Path, Location or None
        The folder for the results, in the tree of their sources; with several folders, under the name of each. What
        lies in it is not read, unless it is named as a file, or there is a suffix. None stands for the folder of each
        source, and needs a suffix.
    recursive : bool, default False
        Whether sub-folders are read, too, after the files beside them; hidden and symlinked ones are not. A symlink to
        nothing is a file that cannot be read.
    ending : str, default ".png"
        The ending of all targets. Sources that differ in nothing but their ending keep it (a.jpg.png, a.tif.png), and
        what is still the same, in upper or lower case, is numbered (a-2.png).
    suffix : str, default ""
        The end of all targets' names before their ending. A file with such a name is taken for a result, too, where
        a photo that would have it lies beside it.

    Raises
    ------
    ArgumentError
        There is nothing to read, a given folder lies in that for the results, or the ending is not one.
    ImageFileError
        A folder at a URL cannot be listed.
    """
    if ending in ("", ".") or Path(f"a{ending}").suffix != ending:
        raise ArgumentError(f"ending={ending!r} is not the ending of a file; use one such as '.png'")
    assert suffix or output is not None, "a target would have the place of its source"
    given = [place_of(path) for path in paths]
    folder = None if output is None else place_of(output)
    closed = "" if folder is None or suffix else identity_of(folder)
    folders = {place: identity_of(place) for place in given if is_folder(place)}
    for place, identity in folders.items():
        if identity != closed and is_inside(identity, closed):  # the folder itself comes with "*", and is left out
            ways_out = "name another one with output (--output), or give a suffix (--suffix)"
            raise ArgumentError(f"{place} lies in the output folder {folder}, where no photos are read; {ways_out}")
    several = len(set(folders.values())) > 1
    found: dict[str, tuple[Place, str]] = {}  # identity, but of a symlink itself -> source, place in the targets' tree
    unread: dict[Place, str] = {}
    others: set[str] = set()
    results: set[str] = set()
    more_below = False
    for place in given:
        if place not in folders:
            if isinstance(place, Location):
                own = f"{place}{place.secrets[1]}"  # of a version of it, for example
            else:
                own = f"{identity_of(place.parent)}/{place.name}"
            found.setdefault(own, (place, place.name))
            continue
        top = folders[place]
        name = Path(top).name
        prefix = f"{name}/" if several and name else ""
        inside = contents_of(place, closed, recursive=recursive, suffix=suffix)
        more_below |= inside.tree.has_folders
        results |= {f"{top}/{below}" for below in inside.results}
        others |= {f"{top}/{below}" for below in inside.others}
        for below in inside.images:
            source = inside.tree.at(below)
            if f"{top}/{below}" not in found:
                found[f"{top}/{below}"] = (source, prefix + below)
                if below in inside.unread:
                    unread[source] = reason_of(inside.unread[below], source)
    passed_over = dict(Counter(map(ending_of, others - set(found))).most_common())
    n_results = len(results - set(found))
    if not found:
        raise _nothing_found(folders, closed, passed_over, n_results, more_below and not recursive)
    sources = [source for source, _ in found.values()]
    if folder is None:
        names = [target.rpartition("/")[2] for target in _targets(list(found), suffix + ending)]
        targets = [source.parent / name for source, name in zip(sources, names, strict=True)]
    else:
        tree = _targets([place for _, place in found.values()], suffix + ending)
        targets = [joined(folder, target) for target in tree]
    pairs = zip(sources, targets, strict=True)
    files = [PlannedFile(source, target, unread.get(source)) for source, target in pairs]
    return Plan(files, passed_over, n_results)


def check_inside(target: Place, output: Place) -> None:
    """Refuse a target that symlinks lead out of the output folder.

    Raises
    ------
    ImageFileError
        The target's folder, with all symlinks resolved, does not lie in the output folder.
    """
    folder = identity_of(target.parent)
    if isinstance(target, Path) and not is_inside(folder, identity_of(output)):
        raise ImageFileError(f"{target} is not written: it would go to {folder}, which is outside {output}")


def _targets(places: list[str], tail: str) -> list[str]:
    """Choose places for the results. They differ even without regard to case, and none is that of a folder."""
    replaced = [without_ending(place) + tail for place in places]
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


def _folders_of(places: list[str]) -> set[str]:
    """All folders that the places need, case-folded."""
    folders: set[str] = set()
    for folder in {place.rpartition("/")[0].casefold() for place in places}:
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _nothing_found(
    folders: dict[Place, str], closed: str, passed_over: dict[str, int], n_results: int, more_below: bool
) -> ArgumentError:
    if not folders:
        return ArgumentError("no files or folders are given")
    names = [str(path) for path in folders]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    message = f"there are no image files to read in {', '.join(names[:MAX_NAMED])}{more}"
    if passed_over or n_results:
        message += f"; {passed_over_words(passed_over, n_results)}"
    if closed in folders.values():
        message += "; what lies in the output folder is not read"
    if n_results:
        message += "; results are read where they are named as files"
    if more_below:
        message += "; sub-folders are read with recursive=True (--recursive)"
    return ArgumentError(message)
