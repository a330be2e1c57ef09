"""quantize_files(): many files, several at a time, one outcome each."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

import torch

from gpuquant.arguments import MAX_PIXELS, check_compression, check_positive, in_words
from gpuquant.batch.cluster_crew import ClusterCrew
from gpuquant.batch.crew import Crew, Threads
from gpuquant.batch.existing import EXISTING, results_to_keep
from gpuquant.batch.file_work import FileWork, Settings
from gpuquant.batch.job import SHARED_PALETTE, Batch
from gpuquant.batch.page import page_folder
from gpuquant.batch.plan import PlannedFile, plan_files
from gpuquant.batch.shares import shares_of
from gpuquant.cluster.ray_cluster import check_cluster
from gpuquant.devices import resolve_device
from gpuquant.dithering.methods import check_dither
from gpuquant.errors import ArgumentError
from gpuquant.fitting.search import check_not_searched, check_search
from gpuquant.images.loading import parse_color
from gpuquant.images.registry import result_formats
from gpuquant.images.writing import check_format
from gpuquant.locations import Location, Place, holds, identity_of, is_url, place_of
from gpuquant.palettes.palette import PaletteLike
from gpuquant.palettes.parsing import palette_to_apply
from gpuquant.quantization.options import options_of
from gpuquant.threads import n_cores

MOST_JOBS = 16  # if not asked for more


def quantize_files(
    paths: Sequence[str | Place] | str | Place,
    output: str | Place | None = None,
    n_colors: int | None = None,
    *,
    target_psnr: float | None = None,
    recursive: bool = False,
    image_format: str = "png",
    suffix: str | None = None,
    jobs: int | None = None,
    device: str | torch.device = "auto",
    memory: int | str | None = None,
    cluster: str | None = None,
    existing: str = "refuse",
    palette: PaletteLike | None = None,
    shared_palette: bool = False,
    log: str | Path | None = None,
    report: bool = False,
    effort: str = "default",
    color_space: str = "srgb",
    weighting: float = 1.0,
    random_state: int = 0,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
    keep_profile: bool = False,
    compression: int | None = None,
    dither: str = "none",
    dither_strength: float = 1.0,
    counted: Callable[[Place], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Batch:
    """Quantize many files, several at a time: reading, clustering and writing overlap.

    A file that fails becomes an outcome and does not stop the others. Every result is whole or not there, also if the
    process is killed, and is the same as that of `quantize` for the file alone.

    Parameters
    ----------
    paths : path or URL, or list of them
        Files, and folders whose photos are taken, without what says that gpuquant wrote it: name results as files. A
        URL with a slash at its end is a folder, "s3://bucket/holiday/"; at https:// there are files only.
    output : path or URL, optional
        The folder for the results. The tree below a given folder is kept there; files that would write one result
        (a.jpg and a.png) keep their full names (a.jpg.png and a.png.png). Nothing is written elsewhere. What lies in it
        is not read. With a suffix it may be the folder of the photos, or None: each result then lies beside its photo.
    n_colors, target_psnr, effort, color_space, weighting, random_state, max_pixels, preview, background, \
    keep_profile, dither, dither_strength
        As for `quantize`. The target of a shared palette is that of all photos together: some are below it.
    recursive : bool
        Also take the photos of sub-folders.
    image_format : "png", "tif" or "gif"
    suffix : str, optional
        The end of the results' names, such as "-16-colors": a.jpg becomes a-16-colors.png. Photos are then read from
        the output folder, too; a file with such a name beside its photo is taken for a result.
    jobs : int, optional
        Files worked on at a time; as many as there are cores, up to 16, if not given.
    device : str or torch.device
        As for `quantize`; "cuda:0,cuda:1" shares the files out among several. On each, photos of similar size that are
        ready at the same time are clustered as one batch.
    memory : str or int, optional
        How much the photos may take that are worked on at a time, such as "2GB"; a quarter of what is free, at least
        512 MB, if not given. Fewer are worked on at a time where it takes that; and photos of any size, strip by strip.
    cluster : "auto", "local", "HOST:PORT" or "ray://HOST:PORT", optional
        Work on the machines of a Ray cluster (the extra `ray`), which all have to see the same files and run the same
        gpuquant and libraries: a running one (that of RAY_ADDRESS, or this machine's), or one that is started here for
        this batch. Each GPU gets a worker, or where there is none each machine, with as many jobs as it has CPUs;
        `jobs`, for each of which a worker takes a CPU, and `memory` are then those of a worker and of a machine, and
        `device` is "auto", "cpu" or "cuda". Results are the same. A worker that dies costs its files another try, two
        at most; then they fail with "the worker died".
    existing : "refuse", "skip", "update" or "overwrite"
        What to do about results that are there already: raise before anything is written; go on where an earlier run
        stopped, which is an error if they say that they were made with other options, or if their shared palette is no
        longer that of all photos; write those anew that are not known to be made with the same options; or all. In a
        folder of photos only what says that gpuquant wrote it is overwritten.
    palette : Palette, or whatever it takes, optional
        Apply it, in place of finding one for each file: also a list of colors, a text such as "#000,#fff", or a path.
    shared_palette : bool
        Find one palette for all pixels of all files, exactly, and apply it; it is written to palette.hex, too.
    log : path, optional
        A file to which one line of JSON is added for each outcome, as it comes, with what `FileOutcome` has; and before
        them, if folders hold files that are not read, one with their numbers by ending, and that of earlier results:
        {"status": "passed over", "endings": {".heic": 6}, "results": 0}.
    report : bool
        Also write report.html into the output folder, or the lowest folder that holds all results, which has to be a
        given one, or lie in one: every photo before and after, with its palette, errors, sizes and times. Its files are
        beside it, in gpuquant-report-files; its links are relative, so that the folder can be moved, and so it has no
        other place. Photos at https://, in another store, or on disk where the results are at URLs, have thumbnails and
        no link. It is written at the end, also of a batch that fails or is stopped, and has the results of earlier
        runs; of a stopped one those that had a report.
    compression : int, optional
        As for `QuantizedImage.save`.
    counted : callable, optional
        Called with each path that has been counted for a shared palette; not with those that fail.
    progress : callable, optional
        Called with the name of each stage as it begins: "count" and "cluster" for a shared palette, "write",
        and "report".

    Returns
    -------
    Batch
        An iterator; `len()` tells the number of files, and `stop()` begins no more of them.

    Raises
    ------
    ArgumentError
        An argument cannot be used, or there is nothing to do.
    DeviceError
        A device is not there.
    ImageFileError
        The log or the report cannot be written; after the last file, if that happens on the way. Or the disk of the
        results is full: no more files are then begun.

    Notes
    -----
    Every result says what it was made with: `QuantizedImage.options`, with a digest in place of a palette, and of a
    shared one also how it was searched for. A given palette keeps results that have the same colors, however they were
    found. Results that say nothing are kept by "skip", with a warning.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         Image.fromarray(np.eye(4, dtype=np.uint8) * 200).save(Path(folder) / f"{name}.bmp")
    ...     outcomes = list(gpuquant.quantize_files(folder, Path(folder) / "out", 2))
    >>> sorted((outcome.target.name, outcome.status) for outcome in outcomes)
    [('a.png', 'written'), ('b.png', 'written')]
    """
    search = check_search(n_colors, target_psnr, color_space, weighting, effort, random_state)
    check_positive("max_pixels", max_pixels)
    check_compression(compression)
    if jobs is not None:
        check_positive("jobs", jobs)
    if existing not in EXISTING:
        raise ArgumentError(f"existing={existing!r} must be one of {', '.join(map(repr, EXISTING))}")
    applied = None if palette is None else palette_to_apply(palette)
    if applied is not None:
        if shared_palette:
            raise ArgumentError("palette= and shared_palette= exclude each other; give one of them")
        check_not_searched(n_colors, search)
    if image_format not in result_formats():
        raise ArgumentError(f"image_format={image_format!r} must be {in_words(map(repr, result_formats()))}")
    ending = f".{image_format}"
    n_entries, alpha = (search.n_colors or 1, None) if applied is None else (len(applied), applied.alpha)
    given = [_place("paths", path) for path in (paths if _are_several(paths) else [paths])]
    folder = None if output is None else _place("output", output)
    log_path = None if log is None else _place("log", log)
    check_format(folder / f"*{ending}" if folder else f"*{ending}", n_entries, alpha=alpha)
    if isinstance(log_path, Location):
        raise ArgumentError(f"the log is written line by line, which {log_path} does not take; name a file on disk")
    if keep_profile and (shared_palette or palette is not None):
        raise ArgumentError("keep_profile and one palette for several photos exclude each other: profiles may differ")
    _check_suffix(suffix, folder, shared_palette)
    if isinstance(folder, Path) and holds(folder.exists) and not holds(folder.is_dir):
        raise ArgumentError(f"{folder} is not a folder; name another one for the results")
    _check_urls(given, folder)
    plan = plan_files(given, folder, recursive=recursive, ending=ending, suffix=suffix or "")
    palette_path = folder / SHARED_PALETTE if folder and shared_palette else None
    _check_targets(plan.files, palette_path, log_path)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=applied is None)
    options = options_of(
        search if applied is None else applied,
        shared=shared_palette,
        preview=preview,
        background=behind,
        keep_profile=keep_profile,
        dither=dithering,
    )
    report_folder = page_folder(folder, given, plan.files, log_path) if report else None
    kept = results_to_keep(plan.files, existing, options, palette_path)
    settings = Settings(
        search,
        max_pixels,
        preview,
        behind,
        keep_profile,
        compression,
        dithering,
        options,
        folder,
        existing,
        report_folder,
    )
    n_jobs = None if jobs is None else int(jobs)
    crew: Crew
    if cluster is None:
        crew = _threads(settings, n_jobs, memory, device)
    else:
        _check_shared(check_cluster(cluster), [*given, folder])
        crew = ClusterCrew(cluster, settings, jobs=n_jobs, memory=memory, device=device)
    return Batch(
        plan,
        settings,
        crew,
        kept=kept,
        palette=applied,
        shared_palette=shared_palette,
        log=log_path,
        counted=counted,
        progress=progress,
    )


def _are_several(paths: object) -> TypeGuard[Iterable[str | Place]]:
    return isinstance(paths, Iterable) and not isinstance(paths, str)


def _place(name: str, value: object) -> Place:
    if isinstance(value, str | Path | Location):
        place = place_of(value)
        if "\0" not in str(place):
            return place
        value = str(place) if is_url(value) else value
    raise ArgumentError(f"{name} must be paths, got {value!r}")


def _check_urls(paths: list[Place], output: Place | None) -> None:
    """Raise before anything is read if a kind of URL is not known, or cannot take results."""
    locations = [place for place in paths if isinstance(place, Location)]
    for place in {(place.protocol, place.secrets): place for place in locations}.values():
        place.system()
    if isinstance(output, Location):
        output.check_target()


def _check_shared(cluster: str, places: list[Place | None]) -> None:
    """Refuse what no other process sees: workers would write results into their own memory, which goes with them."""
    for place in places:
        if isinstance(place, Location) and place.is_private:
            alone = f"{place} lies in the memory of this process"
            raise ArgumentError(f"cluster={cluster!r}: {alone}; name a folder, or a URL, that all machines see")


def _threads(settings: Settings, jobs: int | None, memory: int | str | None, device: str | torch.device) -> Threads:
    names = [name.strip() for name in device.split(",")] if isinstance(device, str) else [device]
    n_jobs = jobs or min(n_cores(), MOST_JOBS)
    n_threads = max(1, n_cores() // n_jobs)
    as_floats = settings.search.color_space != "srgb"
    shares = shares_of(memory, jobs=n_jobs, n_threads=n_threads, as_floats=as_floats)
    return Threads(FileWork(settings, [resolve_device(name) for name in names], shares, n_threads), n_jobs)


def _check_suffix(suffix: str | None, output: Place | None, shared_palette: bool) -> None:
    if suffix is None and output is None:
        raise ArgumentError(
            "there is no place for the results; name a folder with output (--output), or give a suffix (--suffix) "
            "for results beside their photos"
        )
    if suffix is not None and (
        not isinstance(suffix, str) or not suffix.strip(".") or any(letter in suffix for letter in "/\\\0")
    ):
        raise ArgumentError(f"suffix={suffix!r} cannot end the name of a file; use one such as '-16-colors'")
    if shared_palette and output is None:
        raise ArgumentError("a shared palette is also written; name the folder for it with output (--output)")


def _check_targets(files: list[PlannedFile], palette: Place | None, log: Path | None) -> None:
    """Refuse to write where a photo is or where nothing can be written, or to write two things in one place."""
    sources = {identity_of(file.source) for file in files}
    results = {identity_of(file.target): file.target for file in files}
    for path in [*results.values(), *(path for path in (palette, log) if path)]:
        if identity_of(path) in sources:
            raise ArgumentError(f"{path} is one of the photos; choose another place for what is written")
        if isinstance(path, Location) and path.is_read_only:
            path.check_target()
    others = [identity_of(path) for path in (palette, log) if path]
    if len({*results, *others}) < len(results) + len(others):
        raise ArgumentError(f"the log {log} is also the place of a result; name another file")
