"""The results of a batch that are there already: which of them are kept, and that none is lost or mixed unasked."""

import warnings
from pathlib import Path

from gpuquant.batch_plan import PlannedFile, holds
from gpuquant.errors import ArgumentError, GpuquantError
from gpuquant.palette_files import read_palette
from gpuquant.result_options import Options, difference, palette_options, read_options

EXISTING = ("refuse", "skip", "update", "overwrite")


def results_to_keep(
    files: list[PlannedFile],
    existing: str,  # one of those above
    options: Options,  # of this job; without a palette where one is to be shared, as it is not yet known
    shared_palette: Path | None,  # where it is written
    *,
    among_photos: bool,  # results have a suffix, and may lie where photos do
) -> set[PlannedFile]:
    """The files whose results are there and are not made anew.

    Raises
    ------
    ArgumentError
        Results are there and must not be, or were made with other options, or may be photos.
    """
    there = [file for file in files if holds(file.target.is_file)]
    if existing == "refuse":
        _check_none([file.target for file in files] + ([shared_palette] if shared_palette else []))
        return set()
    if existing == "overwrite" and not among_photos:
        return set()
    made = {file: read_options(file.target) for file in there}
    if existing != "skip" and among_photos:
        _check_ours(made)
    palette = _kept_palette(shared_palette) if shared_palette else {}
    known = {file: found for file, found in made.items() if found is not None}
    differing: dict[PlannedFile, str] = {}
    for file, found in known.items():
        if palette is None:  # it is compared when it is found
            found = {name: value for name, value in found.items() if name != "palette"}
        if words := difference(found, options | (palette or {})):
            differing[file] = words
    if existing == "skip":
        _check_alike(differing, len(there))
        if len(known) < len(there):
            untold = f"{len(there) - len(known)} of {len(there)} results do not say what they were made with"
            warnings.warn(f"{untold}; they are taken as they are", stacklevel=3)
        return set(there)
    return set() if existing == "overwrite" or palette is None else set(known) - set(differing)


def _check_none(wanted: list[Path]) -> None:
    there = [path for path in wanted if holds(path.exists)]
    if there:
        message = f"{len(there)} of {len(wanted)} results exist already, such as {there[0]}"
        raise ArgumentError(f"{message}; skip or overwrite them (--skip-existing or --force)")


def _check_ours(made: dict[PlannedFile, Options | None]) -> None:
    for file, found in made.items():
        if found is None:
            message = f"{file.target} is not overwritten: it does not say that gpuquant wrote it, and may be a photo"
            raise ArgumentError(f"{message}; choose another suffix (--suffix)")


def _check_alike(differing: dict[PlannedFile, str], n_results: int) -> None:
    if differing:
        first, words = next(iter(differing.items()))
        message = f"{len(differing)} of {n_results} results that exist were made with other options"
        message += f": {first.target} was made with {words}"
        way_out = "write those anew with existing='update' (--skip-existing --force)"
        raise ArgumentError(f"{message}; {way_out}, or choose another output folder")


def _kept_palette(path: Path) -> Options | None:
    try:
        return palette_options(read_palette(path)) if holds(path.is_file) else None
    except GpuquantError:
        return None
