"""The report of a batch: what it adds to the time of the batch, and how soon a page of a thousand photos can be read.

Pages that lack a photo or a thumbnail fail, and so do results that are not those of the batch without it.

Run: pytest benchmarks/bench_report.py     (needs chromium and its driver for the second part)
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bench_batch import JOBS, N_COLORS, check_same, folder_of
from conftest import Report, Tell, sized_photo

import gpuquant
from gpuquant.report.folder import FILES, PAGE, ReportFolder
from gpuquant.report.page import write_page
from gpuquant.report.record import PhotoRecord
from gpuquant.report.thumbnails import MadeThumbnails, thumbnail

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from parts import browser  # type: ignore[import-not-found]

PHOTOS, COLORS, ROUNDS = 1000, 16, 3
TIMES = 8  # each of the five large photos: 40


def test_time_of_a_batch_with_its_report(report: Report, tell: Tell, tmp_path: Path) -> None:
    """The first half of the rounds begins with the report, the other one without it."""
    photos = sorted(folder_of(tmp_path, TIMES).iterdir())
    seconds: dict[bool, list[float]] = {True: [], False: []}
    processor: dict[bool, list[float]] = {True: [], False: []}
    list(gpuquant.quantize_files(photos[:2], tmp_path / "warm", N_COLORS, device="cpu", jobs=JOBS, report=True))
    for number in range(ROUNDS):
        for with_report in (True, False)[:: 1 if number % 2 else -1]:
            output = tmp_path / f"{with_report}-{number}"
            start, begun = time.perf_counter(), time.process_time()
            outcomes = list(
                gpuquant.quantize_files(photos, output, N_COLORS, device="cpu", jobs=JOBS, report=with_report)
            )
            seconds[with_report].append(time.perf_counter() - start)
            processor[with_report].append(time.process_time() - begun)
            assert [outcome.error for outcome in outcomes] == [None] * len(photos)
    for photo in photos:
        check_same(tmp_path / "True-0" / f"{photo.stem}.png", tmp_path / "False-0" / f"{photo.stem}.png")
    assert len(list((tmp_path / "True-0" / FILES).glob("*.jpg"))) == 2 * len(photos)
    assert (tmp_path / "True-0" / PAGE).stat().st_size > 10_000
    ours, theirs = (statistics.median(seconds[is_so]) for is_so in (True, False))
    own, other = (statistics.median(processor[is_so]) for is_so in (True, False))
    what = f"{len(photos)} photos: time of the batch with its report / without"
    report(what, ours / theirs, 1.10, 1.03, f"{ours:.1f} s; without {theirs:.1f} s")
    tell(what.replace("time", "CPU time"), own / other, f"{own:.1f} s; without {other:.1f} s")


def test_a_page_of_a_thousand_photos(report: Report, tmp_path: Path) -> None:
    """Until it can be scrolled: the first frame after a jump into its middle, counted from the navigation on."""
    files, pixels = ReportFolder(tmp_path), sized_photo("0.4MP")
    made = MadeThumbnails(thumbnail(pixels), thumbnail(gpuquant.quantize(pixels, COLORS).to_array()))
    random, records = np.random.RandomState(0), []
    for number in range(PHOTOS):
        target = tmp_path / "holiday" / f"IMG_{number:05}.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"")
        record = PhotoRecord(
            f"photos/holiday/IMG_{number:05}.jpg",
            width=4531,
            height=3023,
            n_colors=COLORS,
            colors=tuple(f"#{color:06x}" for color in random.randint(0, 1 << 24, COLORS)),
            shares=tuple(random.dirichlet(np.ones(COLORS))),
            mse=float(random.rand() * 300),
            psnr=float(30 + 10 * random.rand()),
            ssim=made.ssim,
            bytes_in=int(random.randint(2_000_000, 9_000_000)),
            bytes_out=int(random.randint(1_000_000, 4_000_000)),
            seconds={stage: float(random.rand()) for stage in ("read", "count", "cluster", "map")},
            settings="n colors 16",
        )
        records.append(files.keep(record, tmp_path.parent / f"IMG_{number:05}.jpg", target, made.encoded()))
    start = time.perf_counter()
    page = Path(str(write_page(files, records)))
    writing = time.perf_counter() - start
    what = f"a page of {PHOTOS} photos"
    report(f"{what}: MB of HTML", page.stat().st_size / 1e6, 2, 1, f"written in {writing:.1f} s")
    if why := browser.missing():
        pytest.skip(why)
    with browser.browser(tmp_path / "profile") as driver:
        browser.resize(driver, 1280, 900)
        taken = []
        for _ in range(5):
            driver.get("about:blank")
            driver.get(page.as_uri())
            taken.append(
                driver.execute_async_script(
                    "const done = arguments[0]; window.scrollTo(0, document.documentElement.scrollHeight / 2);"
                    "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() / 1000)));"
                )
            )
            assert driver.execute_script("return document.querySelectorAll('.photo').length") == PHOTOS
            assert driver.execute_script("return window.scrollY") > 1000
    seconds = statistics.median(taken)
    report(f"{what}: seconds until chromium can scroll", seconds, 2, 1, f"{min(taken):.2f} to {max(taken):.2f} s")
