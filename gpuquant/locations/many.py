"""Many files at URLs, a few at a time: each waits for an answer, not for us."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from gpuquant.locations.looking import holds
from gpuquant.locations.places import Location, Place

FEW = 16  # files that are asked for one by one, in place of listing all that lies around them
AT_A_TIME = 16  # requests: more are slowed down by the stores

Found = TypeVar("Found")


def for_each(look: Callable[[Place], Found], places: Iterable[Place]) -> Iterator[tuple[Place, Found]]:
    """Look into files, at URLs into many at a time."""
    remote = []
    for place in places:
        if isinstance(place, Location):
            remote.append(place)
        else:
            yield place, look(place)
    if remote:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            yield from zip(remote, pool.map(look, remote), strict=True)


def files_among(places: Iterable[Place]) -> dict[Place, Place]:
    """The places where a file is; at URLs each with its bytes, and many are found by listing what lies around them.

    Raises
    ------
    ImageFileError
        Nobody answers.
    """
    stores: dict[object, list[Location]] = {}
    found: dict[Place, Place] = {}
    for place in places:
        if isinstance(place, Location):
            stores.setdefault(place.store, []).append(place)
        elif holds(place.is_file):
            found[place] = place
    for wanted in stores.values():
        if len(wanted) <= FEW:
            sizes = {place: info.get("size") for place in wanted if (info := place.details()) is not None}
            found |= {place: replace(place, n_bytes=n_bytes) for place, n_bytes in sizes.items()}
            continue
        folders = {place.parent.path for place in wanted}
        shared = os.path.commonprefix([f"{folder}/" for folder in folders])  # noqa: RUF071 - cut at a slash below
        around = shared.rpartition("/")[0]
        by_path = {place.path: place for place in wanted}
        top = replace(wanted[0], path=around)
        for below, n_bytes in top.listed(recursive=len(folders) > 1):
            there = by_path.get((top / below).path)
            if there is not None:
                found[there] = replace(there, n_bytes=n_bytes)
    return found
