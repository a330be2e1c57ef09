"""Choose which results of earlier runs a batch keeps, so that none are mixed, and no photo is lost."""

import os
import warnings
from pathlib import Path

from gpuquant.batch.plan import PlannedFile, holds
from gpuquant.errors import ArgumentError, GpuquantError
from gpuquant.images.note import is_whole, read_options
from gpuquant.palettes.files import read_palette
from gpuquant.quantization.options import Options, difference, palette_options

ANEW = "write those anew with existing='update' (--skip-existing --force)"
EXISTING = ("refuse", "skip", "update", "overwrite")


def results_to_keep(
    files: list[PlannedFile],
    existing: str,  # one of those above
    options: Options,  # of this job; without a palette where one is to be shared, as it is not yet known
    shared_palette: Path | None,  # the file that it is written to
) -> set[PlannedFile]:
    """Find the files whose results are there and are not made anew.

    Raises
    ------
    ArgumentError
        Results are there and must not be, or were made with other options, or may be photos.
    """
    if existing == "refuse":
        _check_none([file.target for file in files] + ([shared_palette] if shared_palette else []))
        return set()
    there = [file for file in files if holds(file.target.is_file)]
    if existing != "skip":
        _check_no_photos(there, files)
    if existing == "overwrite":
        return set()
    known = {file: found for file in there if (found := read_options(file.target)) is not None}
    wanted = options | (_palette_in(shared_palette) if shared_palette else {})
    if existing == "update":
        return {file for file, found in known.items() if is_whole(file.target) and not difference(found, wanted)}
    if shared_palette and "palette" not in wanted:  # which is compared when it is found
        known = {file: {**found, "palette": None} for file, found in known.items()}
    _check_alike(known, wanted, len(there))
    if len(known) < len(there):
        untold = f"{len(there) - len(known)} of {len(there)} results do not say what they were made with"
        warnings.warn(f"{untold}; they are taken as they are", stacklevel=3)
    damaged = [file.target for file in there if not is_whole(file.target)]
    if damaged:
        broken = f"{len(damaged)} of {len(there)} results cannot be read, or are damaged, such as {damaged[0]}"
        warnings.warn(f"{broken}; {ANEW}", stacklevel=3)
    return set(there)


def _check_none(wanted: list[Path]) -> None:
    there = [path for path in wanted if holds(path.exists)]
    if there:
        message = f"{len(there)} of {len(wanted)} results exist already, such as {there[0]}"
        raise ArgumentError(f"{message}; use existing='skip' (--skip-existing) or existing='overwrite' (--force)")


def _check_no_photos(there: list[PlannedFile], files: list[PlannedFile]) -> None:
    """Refuse to overwrite files that may be photos: in a folder of photos, those that do not say that we wrote them."""
    folders = {Path(os.path.realpath(folder)) for folder in {file.source.parent for file in files}}
    folders |= {above for folder in folders for above in folder.parents}
    for file in there:
        if Path(os.path.realpath(file.target.parent)) in folders and read_options(file.target) is None:
            message = f"{file.target} is not overwritten: it does not say that gpuquant wrote it, and may be a photo"
            raise ArgumentError(f"{message}; choose another suffix (--suffix) or output (--output)")


def _check_alike(known: dict[PlannedFile, Options], wanted: Options, n_results: int) -> None:
    differing = {file: words for file, found in known.items() if (words := difference(found, wanted))}
    if differing:
        first, words = next(iter(differing.items()))
        message = f"{len(differing)} of {n_results} results that exist were made with other options"
        message += f": {first.target} was made with {words}"
        raise ArgumentError(f"{message}; {ANEW}, or choose another output folder")


def _palette_in(path: Path) -> Options:
    try:
        return palette_options(read_palette(path)) if holds(path.is_file) else {}
    except GpuquantError:
        return {}
