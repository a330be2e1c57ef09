"""The report of a folder of results: what is there is looked at, and the page is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from gpuquant.arguments import MAX_PIXELS, check_positive
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.note import read_options
from gpuquant.images.registry import results_by_ending
from gpuquant.locations import (
    Location,
    Place,
    Tree,
    for_each,
    identity_of,
    is_inside,
    place_of,
    resolved,
    tree_of,
)
from gpuquant.report.folder import FILES, ReportFolder
from gpuquant.report.log import LoggedPhoto, read_log
from gpuquant.report.looking import looked_at
from gpuquant.report.page import write_page
from gpuquant.report.record import PhotoRecord
from gpuquant.threads import in_order, n_cores


@dataclass(frozen=True)
class ResultPlace:
    """A result that is there, and what its photo is called, and where it may be."""

    name: str
    source: Place | None
    target: Place


def report_folder(
    folder: str | Place,
    log: str | Place | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = lambda said: None,
) -> tuple[Place, int, int]:
    """Write the page of all results in a folder and below it; the page, and how many photos it has, and failures.

    Folder and log are paths or URLs. Results and photos with more pixels than `max_pixels` have no pictures. Lines on
    what is unknown for all its looking are told.

    Raises
    ------
    ArgumentError
        There is no such folder, no result in it, or a page of someone else's; or the URL can only be read. Or the log
        is none.
    ImageFileError
        The log cannot be read, or the page cannot be written.
    """
    check_positive("max_pixels", max_pixels)
    folder = place_of(folder)
    if isinstance(folder, Location):
        folder.check_target()
    if not (folder.is_dir() if isinstance(folder, Path) else folder.is_folder()):
        raise ArgumentError(f"{folder} is not a folder; name one that holds results, as gpuquant batch writes them")
    files = ReportFolder(folder)
    files.check_page()
    logged = {} if log is None else _photos_in(place_of(log), tell)
    tree = tree_of(folder, recursive=True, but=FILES)
    found = results_in(tree)
    there = set(map(resolved, found))
    results = [_place_of(place, files, logged.get(resolved(place))) for place in found]
    top = identity_of(folder)
    failed = [
        replace(one.record, name=files.name_of(one.source, one.target), source=files.place_of(one.source))
        for identity, one in logged.items()
        if one.record.error is not None and is_inside(identity, top) and identity not in there
    ]
    failed += [PhotoRecord(place, error="this folder cannot be listed") for place in sorted(tree.unlisted)]
    if not results and not failed:
        raise ArgumentError(f"{folder} holds no results that say that gpuquant wrote them; name another folder")
    noted = failed + records_of_results(files, results, logged, max_pixels=max_pixels, progress=progress)
    records = files.with_links_that_lead(noted)
    page = write_page(files, records)
    n_lost = sum(old.source != new.source and not old.error for old, new in zip(noted, records, strict=True))
    if n_lost:
        photos = "1 photo is" if n_lost == 1 else f"{n_lost} photos are"
        tell(f"{photos} no longer where the results say; no links lead there")
    n_unknown = sum(record.error is None and record.mse is None for record in records)
    if n_unknown:
        such = "1 result" if n_unknown == 1 else f"{n_unknown} results"
        way_out = "name the log of the batch with --log, or use gpuquant batch --report"
        tell(f"{such} of unknown error: {way_out if log is None else f'{log} tells nothing of them'}")
    files.forget_gone(found)
    return page, len(records), sum(record.error is not None for record in records)


def _photos_in(log: Place, tell: Callable[[str], None]) -> dict[str, LoggedPhoto]:
    """The photos that a log tells of.

    Raises
    ------
    ArgumentError
        There is something in it, and nothing that a batch would have written.
    """
    read = read_log(log)
    if read.n_unknown and not read.n_known:
        raise ArgumentError(f"{log} is no log of gpuquant batch")
    if read.n_unknown:
        lines = "1 line was" if read.n_unknown == 1 else f"{read.n_unknown} lines were"
        tell(f"{log}: {lines} not understood")
    return read.photos


def results_in(tree: Tree) -> list[Place]:
    """All files of a tree that say that gpuquant wrote them, or of which nobody knows."""
    maybe = [tree.at(place) for place in tree.files if PurePosixPath(place).suffix.lower() in results_by_ending()]
    may_be_ours = dict(for_each(_may_be_ours, maybe))
    return [place for place in maybe if may_be_ours[place]]


def _may_be_ours(place: Place) -> bool:
    try:
        return read_options(place) is not None
    except ImageFileError:  # which looking at it tells
        return True


def records_of_results(
    files: ReportFolder,
    results: Sequence[ResultPlace],
    logged: dict[str, LoggedPhoto],
    *,
    max_pixels: int,
    progress: Callable[[int, int], None] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[PhotoRecord]:
    """The record of each result, several looked at at a time; once stopped only of those of which one was kept."""
    kept = dict(for_each(partial(_kept, files), [one.target for one in results]))
    records: list[PhotoRecord] = []

    def take(record: PhotoRecord | None) -> None:
        if record is not None:
            records.append(record)
        if progress:
            progress(len(records), len(results))

    def look(one: ResultPlace) -> PhotoRecord | None:
        found, source = kept[one.target], one.source
        if is_stopped():
            if found is None:
                return None
            source = None  # a picture of which may be lacking
        said = logged.get(resolved(one.target))
        record = said.record if said and said.record.error is None else None
        given = files, one.name, source, one.target, found, record
        return looked_at(*given, n_jobs=n_jobs, max_pixels=max_pixels)

    n_jobs = n_cores()
    with in_order(look, take, n_jobs) as hand_over:
        for one in results:
            hand_over(one)
    return records


def _kept(files: ReportFolder, target: Place) -> PhotoRecord | ImageFileError | None:
    """The record of a result, or why nobody knows of one: that of one photo stops no others."""
    try:
        return files.kept(target)
    except ImageFileError as error:
        return error


def _place_of(target: Place, files: ReportFolder, logged: LoggedPhoto | None) -> ResultPlace:
    """A result with its photo, of which a log tells the place: what a folder says of itself is not opened."""
    if logged is not None:
        return ResultPlace(files.name_of(logged.source, target), logged.source, target)
    return ResultPlace(files.name_of(target, target), None, target)
