"""Folders of places: made, and the ways from one to what lies in and around it."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpuquant.errors import ImageFileError
from gpuquant.locations.places import Location, Place, identity_of, is_below
from gpuquant.whole_file import check_takes_files


def make_folder(folder: Place) -> None:
    """Make a folder where there is none, but at URLs, where folders come with their files.

    Raises
    ------
    ImageFileError
        It cannot be made, or not be written.
    """
    if isinstance(folder, Location):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_takes_files(folder)
    except OSError as error:
        raise ImageFileError(f"{folder} cannot be written: {error.strerror or error}") from None


def check_folder(folder: Place) -> None:
    """Make a folder, or at a URL write a small file into it, and remove it.

    Raises
    ------
    ArgumentError, ImageFileError
        It cannot be written.
    """
    if isinstance(folder, Location):
        folder.check_writable()
    else:
        make_folder(folder)


def resolved(place: Place) -> str:
    """The identity of a file, but of a symlink its own: a result has one name."""
    return str(place) if isinstance(place, Location) else str(Path(identity_of(place.parent), place.name))


def is_inside(identity: str, folder: str) -> bool:
    """Tell whether an identity is that of a folder or of what lies in it; nothing is inside of ""."""
    return folder != "" and Path(identity).is_relative_to(folder)


def way_to(place: Place, folder: Place) -> str | None:
    """The way from a folder to a file, such as "../photos/a.jpg".

    None where there is none: between paths and URLs, drives, stores, or buckets of a store.
    """
    if isinstance(place, Path) and isinstance(folder, Path):
        try:
            return os.path.relpath(resolved(place), identity_of(folder)).replace(os.sep, "/")
        except ValueError:
            return None
    if isinstance(place, Path) or isinstance(folder, Path) or place.store != folder.store or not is_below(place.path):
        return None
    return posixpath.relpath(f"/{place.path}", f"/{folder.path}")


def common_folder(folders: Sequence[Place]) -> Place | None:
    """The lowest folder that all of these lie in, as the first one says it if it can; None where they have none."""
    paths = [folder for folder in folders if isinstance(folder, Path)]
    locations = [folder for folder in folders if isinstance(folder, Location)]
    if not locations:
        try:
            common = os.path.commonpath(list(map(identity_of, paths)))
        except ValueError:
            return None
        return next((one for one in (paths[0], *paths[0].parents) if identity_of(one) == common), Path(common))
    if paths or len({one.store for one in locations}) > 1:
        return None
    shared = os.path.commonprefix([one.path.split("/") for one in locations])  # noqa: RUF071 - of lists
    return replace(locations[0], path="/".join(shared))
