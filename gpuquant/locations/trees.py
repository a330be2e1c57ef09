"""Trees: the files in a folder and below it, in the order in which people list them."""

import os
from dataclasses import dataclass, field

from gpuquant.locations.folders import is_inside
from gpuquant.locations.looking import holds
from gpuquant.locations.places import Location, Place, identity_of, is_below


@dataclass(eq=False)
class Tree:
    """Files of a folder, as places below it: "sub/a.jpg"; with them what cannot be read, such as a broken symlink."""

    folder: Place
    files: list[str] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)  # folders among the files, or ".": they cannot be listed
    unreachable: list[str] = field(default_factory=list)  # keys that no path below a folder has: with "//" or ".."
    has_folders: bool = False
    sizes: dict[str, int | None] = field(default_factory=dict)  # bytes of files at URLs

    def at(self, place: str) -> Place:
        """One of the files."""
        return self.folder.at(place, self.sizes[place]) if isinstance(self.folder, Location) else self.folder / place


def tree_of(folder: Place, *, recursive: bool, but: str, closed: str = "") -> Tree:
    """List a folder; not what is hidden, in a folder of the name `but`, or in one of the identity `closed`.

    Symlinks to folders are not followed.

    Raises
    ------
    ImageFileError
        A URL cannot be listed.
    """
    top, found = identity_of(folder), Tree(folder)
    if is_inside(top, closed):
        return found
    if isinstance(folder, Location):
        _find_at_url(found, folder, top, recursive, but, closed)
    else:
        _find_on_disk(found, top, recursive, but, closed)
    return found


def _find_on_disk(found: Tree, top: str, recursive: bool, but: str, closed: str) -> None:
    waiting = [(top, "")]
    while waiting:
        folder, place = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            found.files.append(place.rstrip("/") or ".")
            found.unlisted.add(found.files[-1])
            continue
        below = []
        for entry in entries:
            if _is_folder(entry):
                if entry.path != closed and entry.name != but:
                    below.append((entry.path, f"{place}{entry.name}/"))
            elif not holds(entry.is_dir) and not _leads_into(entry, closed):
                found.files.append(place + entry.name)
        found.has_folders |= bool(below)
        if recursive:
            waiting += reversed(below)


def _find_at_url(found: Tree, folder: Location, top: str, recursive: bool, but: str, closed: str) -> None:
    for place, n_bytes in folder.listed(recursive=recursive):
        parts = place.split("/")
        if is_inside(f"{top}/{place}", closed):
            continue
        if place.endswith("/"):
            found.has_folders |= parts[0][:1] != "."
        elif not is_below(place):
            found.unreachable.append(place)
        elif not any(part[0] == "." or part == but for part in parts):
            found.sizes[place] = n_bytes
    found.files = sorted(found.sizes, key=_order)


def _order(place: str) -> list[tuple[bool, str]]:
    """Sort files by their names, and after them the folders beside them."""
    *folders, name = place.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _leads_into(entry: os.DirEntry[str], folder: str) -> bool:
    return entry.is_symlink() and is_inside(os.path.realpath(entry.path), folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return holds(lambda: entry.is_dir(follow_symlinks=False))
