"""Choose which results of earlier runs a batch keeps, so that none are mixed, and no photo is lost."""

import warnings
from pathlib import Path

from gpuquant.batch.plan import PlannedFile
from gpuquant.errors import ArgumentError, GpuquantError
from gpuquant.images.note import is_whole, read_options
from gpuquant.locations import Place, files_among, for_each, identity_of, is_there, looked_into
from gpuquant.palettes.files import read_palette
from gpuquant.quantization.options import Options, difference, palette_options

ANEW = "write those anew with existing='update' (--skip-existing --force)"
EXISTING = ("refuse", "skip", "update", "overwrite")


def results_to_keep(
    files: list[PlannedFile],
    existing: str,  # one of those above
    options: Options,  # of this job; without a palette where one is to be shared, as it is not yet known
    shared_palette: Place | None,  # the file that it is written to
) -> set[PlannedFile]:
    """Find the files whose results are there and are not made anew.

    Raises
    ------
    ArgumentError
        Results are there and must not be, or were made with other options, or may be photos.
    ImageFileError
        A result cannot be read, or the folder of results at a URL cannot be listed.
    """
    if existing == "refuse":
        _check_none([file.target for file in files] + ([shared_palette] if shared_palette else []))
        return set()
    there = results_of(files)
    if existing != "skip":
        _check_no_photos(there, files)
    if existing == "overwrite":
        return set()
    notes = dict(for_each(read_options, there.values()))
    known = {file: note for file, place in there.items() if (note := notes[place]) is not None}
    wanted = options | (_palette_in(shared_palette) if shared_palette else {})
    whole = {place for place, is_one in for_each(is_whole, there.values()) if is_one}
    if existing == "update":
        return {file for file, found in known.items() if there[file] in whole and not difference(found, wanted)}
    if shared_palette and "palette" not in wanted:  # which is compared when it is found
        known = {file: {**found, "palette": None} for file, found in known.items()}
    _check_alike(known, wanted, len(there))
    if len(known) < len(there):
        untold = f"{len(there) - len(known)} of {len(there)} results do not say what they were made with"
        warnings.warn(f"{untold}; they are taken as they are", stacklevel=3)
    damaged = [place for place in there.values() if place not in whole]
    if damaged:
        broken = f"{len(damaged)} of {len(there)} results cannot be read, or are damaged, such as {damaged[0]}"
        warnings.warn(f"{broken}; {ANEW}", stacklevel=3)
    return set(there)


def results_of(files: list[PlannedFile]) -> dict[PlannedFile, Place]:
    """The files whose targets are there, and these; with their sizes at URLs."""
    there = files_among(file.target for file in files)
    return {file: there[file.target] for file in files if file.target in there}


def _check_none(wanted: list[Place]) -> None:
    found = files_among(wanted)
    there = [place for place in wanted if place in found or (isinstance(place, Path) and is_there(place))]
    if there:
        message = f"{len(there)} of {len(wanted)} results exist already, such as {there[0]}"
        raise ArgumentError(f"{message}; use existing='skip' (--skip-existing) or existing='overwrite' (--force)")


def _check_no_photos(there: dict[PlannedFile, Place], files: list[PlannedFile]) -> None:
    """Refuse to overwrite files that may be photos: in a folder of photos, those that do not say that we wrote them."""
    folders = {Path(identity_of(folder)) for folder in {file.source.parent for file in files}}
    folders |= {above for folder in folders for above in folder.parents}
    among_photos = [place for place in there.values() if Path(identity_of(place.parent)) in folders]
    for place, options in for_each(read_options, among_photos):
        if options is None:
            message = f"{place} is not overwritten: it does not say that gpuquant wrote it, and may be a photo"
            raise ArgumentError(f"{message}; choose another suffix (--suffix) or output (--output)")


def _check_alike(known: dict[PlannedFile, Options], wanted: Options, n_results: int) -> None:
    differing = {file: words for file, found in known.items() if (words := difference(found, wanted))}
    if differing:
        first, words = next(iter(differing.items()))
        message = f"{len(differing)} of {n_results} results that exist were made with other options"
        message += f": {first.target} was made with {words}"
        raise ArgumentError(f"{message}; {ANEW}, or choose another output folder")


def _palette_in(path: Place) -> Options:
    with looked_into(path) as file:  # which raises where nobody knows
        if file is None or not file.read(1):
            return {}
    try:
        return palette_options(read_palette(path))
    except GpuquantError:
        return {}
