"""The report of a batch: what is on it is what the outcomes and the results say, whatever happens on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import by_name, on_disk, photos_on
from conftest import Pixels
from image_files import swapped_profile
from PIL import Image

from gpuquant import ArgumentError, FileOutcome, quantize, quantize_files
from gpuquant.batch import file_work
from gpuquant.batch.plan import plan_files
from gpuquant.images.reading import read_photo
from gpuquant.images.sources import Source
from gpuquant.images.strips import open_strips
from gpuquant.report import looking, recipe
from gpuquant.report.folder import FILES, PAGE, ReportFolder
from gpuquant.report.recipe import report_folder
from gpuquant.report.record import PhotoRecord
from gpuquant.report.similarity import ssim

pytestmark = pytest.mark.usefixtures("no_place_is_told")


def photos_of(page: Path) -> dict[str, dict[str, Any]]:
    """The data of a page, by the names of photos."""
    return {Path(photo["name"]).name: photo for photo in photos_on(page.read_bytes())}


def kept(outcome: FileOutcome, out: Path) -> PhotoRecord:
    record = ReportFolder(out).kept(outcome.target)
    assert record is not None
    return record


def on_white(image: Image.Image) -> Pixels:
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


@pytest.mark.parametrize(
    "settings", [{}, {"dither": "blue-noise"}, {"palette": "#000,#888,#fff"}, {"image_format": "tif"}]
)
def test_the_page_says_what_outcomes_say(folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    out = tmp_path / "out"
    n_colors = None if "palette" in settings else 5
    outcomes = by_name(quantize_files(folder, out, n_colors, recursive=True, report=True, **settings))
    photos = photos_of(out / PAGE)
    assert set(photos) == set(outcomes)
    assert photos.pop("broken.jpg")["error"] == outcomes.pop("broken.jpg").error
    for name, outcome in outcomes.items():
        record, photo = kept(outcome, out), photos[name]
        for field in ("width", "height", "n_colors", "mse", "bytes_in", "bytes_out", "seconds", "warnings"):
            assert getattr(record, field) == getattr(outcome, field), field
        source, target = on_disk(outcome.source), on_disk(outcome.target)
        with Image.open(source) as one, Image.open(target) as two:
            before, after = on_white(one), on_white(two)
        assert record.ssim == pytest.approx(ssim(before, after))
        assert sum(record.shares) == pytest.approx(1)
        assert photo["target"] == f"./{target.relative_to(out)}"
        assert photo["source"] == f"../photos/{source.relative_to(folder)}"
        for side, pixels in (("before", before), ("after", after)):
            with Image.open(out / FILES / photo[side]) as image:
                assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 30


def test_without_it_there_is_none(folder: Path, tmp_path: Path) -> None:
    list(quantize_files(folder / "p0.png", tmp_path / "out", 3))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p0.png"]


def test_a_batch_that_is_taken_up_has_the_page_of_one_that_ran_through(folder: Path, tmp_path: Path) -> None:
    through, stopped = tmp_path / "through" / "out", tmp_path / "stopped" / "out"
    list(quantize_files(folder, through, 3, report=True))
    job = quantize_files(folder, stopped, 3, jobs=1, report=True)
    for _ in range(3):
        next(job)
    job.close()
    assert len(photos_of(stopped / PAGE)) == 3
    assert "4 more photos are not on this page yet" in (stopped / PAGE).read_text()
    list(quantize_files(folder, stopped, 3, report=True, existing="skip"))
    one, other = photos_of(through / PAGE), photos_of(stopped / PAGE)
    for photo in (*one.values(), *other.values()):
        del photo["seconds"], photo["source"]
    assert one == other


def test_results_of_a_run_without_it_are_looked_at(folder: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    outcomes = by_name(quantize_files(folder, out, 3, log=log))
    list(quantize_files(folder, out, 3, report=True, existing="skip", log=log))
    photos = photos_of(out / PAGE)
    for name in ("p0.png", "clear.png"):
        assert photos[name]["mse"] == pytest.approx(outcomes[name].mse, rel=1e-3)
        assert photos[name]["before"]
        assert photos[name]["settings"] == "3 colors"
    (tmp_path / "log.jsonl").unlink()
    list(quantize_files(folder, tmp_path / "other", 3))
    list(quantize_files(folder, tmp_path / "other", 3, report=True, existing="skip"))
    photo = photos_of(tmp_path / "other" / PAGE)["p0.png"]
    assert (photo["mse"], photo["psnr"], photo["seconds"]) == (None, None, {})
    assert photo["before"]
    assert photo["ssim"]


@pytest.mark.parametrize("end", ["stop", "stop while looking", "close"])
def test_a_batch_that_is_stopped_looks_at_no_more_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Of an earlier run without a report: the page then has those that something was noted of, and the failure."""
    out, looked = tmp_path / "out", []
    list(quantize_files(folder, out, 3))
    (one,) = quantize_files(folder / "p1.png", out, 3, existing="overwrite", report=True)
    (out / FILES / str(kept(one, out).before)).unlink()
    real = looking._seen

    def seen(source: Source, **given: Any) -> Any:
        looked.append(source.name)
        job.stop()
        return real(source, **given)

    monkeypatch.setattr(looking, "_seen", seen)
    monkeypatch.setattr(recipe, "n_cores", lambda: 1)
    job = quantize_files(folder, out, 3, existing="skip", report=True)
    if end == "stop":
        job.stop()
    if end == "close":
        for _ in range(6):
            next(job)
        job.close()
    else:
        list(job)
    expected = {"p1.png"} if end != "stop while looking" else {"p1.png", "clear.png", "broken.jpg"}
    two = [str(out / "clear.png"), str(folder / "clear.png")]
    assert looked == two * (len(expected) > 1)  # of the one that it was stopped at
    assert set(photos_of(out / PAGE)) == expected
    assert f"{7 - len(expected)} more photos are not on this page" in (out / PAGE).read_text()


def test_results_that_are_made_anew_are_shown_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(quantize_files(folder / "p0.png", out, 3, report=True))
    list(quantize_files(folder / "p0.png", out, 6, existing="overwrite"))
    list(quantize_files(folder / "p0.png", out, 6, existing="skip", report=True))
    assert photos_of(out / PAGE)["p0.png"]["nColors"] == 6


def test_thumbnails_of_results_that_are_gone_go(folder: Path, tmp_path: Path) -> None:
    """When all is done: a batch that is stopped does not know of those that it did not come to."""
    out = tmp_path / "out"
    list(quantize_files(folder, out, 3, report=True))
    before = {path.name for path in (out / FILES).iterdir()}
    (out / "p0.png").unlink()
    job = quantize_files(folder, out, 3, report=True, existing="overwrite", jobs=1)
    job.stop()
    assert list(job) == []
    assert {path.name for path in (out / FILES).iterdir()} == before
    list(quantize_files(folder / "p1.png", out, 3, report=True, existing="overwrite"))
    assert len(list((out / FILES).iterdir())) == len(before) - 3
    (out / "p2.png").unlink()
    report_folder(out)
    assert len(list((out / FILES).iterdir())) == len(before) - 6


def test_the_page_lies_beside_results_that_lie_beside_their_photos(folder: Path) -> None:
    outcomes = list(quantize_files(folder, None, 3, suffix="-3", recursive=True, report=True))
    assert len(photos_of(folder / PAGE)) == len(outcomes) == 10
    plan = plan_files([folder], None, recursive=True, suffix="-3")
    assert len(plan.files) == 10  # no thumbnail is taken for a photo
    assert plan.results_passed_over == 9


def test_the_page_lies_where_it_was_asked_for(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside results, or in a folder that was given; in no other one that happens to hold all of them."""
    monkeypatch.chdir(tmp_path)
    photo = (folder / "p0.png").read_bytes()
    for place in ("top/x/a.png", "top/y/b.png", "top/y/z/c.png"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_bytes(photo)
    before = sorted(Path("top").rglob("*"))
    several: list[list[str | Path]] = [
        ["top/x", "top/y"], ["top/x/a.png", "top/y/b.png"], [tmp_path / "top/x", "top/y"]
    ]  # fmt: skip
    for given in several:
        with pytest.raises(ArgumentError, match=r"would lie in .*top, which is none of the folders given; .*output"):
            quantize_files(given, None, 3, suffix="-3", report=True)
    assert sorted(Path("top").rglob("*")) == before
    beside = [(["top"], "top"), (["top/x"], "top/x"), (["top/x", "top"], "top"), (["top/y/z/c.png", "top/y"], "top/y")]
    for number, (paths, page) in enumerate(beside):
        job = quantize_files(paths, None, 3, suffix=f"-{number}", recursive=True, report=True)
        list(job)
        assert job.report == Path(page) / PAGE


def test_what_would_be_overwritten(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / PAGE).write_text("my thoughts")
    with pytest.raises(ArgumentError, match="does not say that gpuquant wrote it"):
        quantize_files(folder, out, 3, report=True)
    (out / PAGE).unlink()
    with pytest.raises(ArgumentError, match="is also the place of the report"):
        quantize_files(folder, out, 3, report=True, log=out / PAGE)


def test_what_cannot_be_kept_is_a_warning(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / FILES).write_bytes(b"")
    job = quantize_files(folder / "p0.png", out, 3, report=True)
    outcome = next(job)
    assert outcome.status == "written"
    assert outcome.warnings[0].startswith("it has no thumbnails in the report: ")
    assert list(job) == []
    photo = photos_of(out / PAGE)["p0.png"]
    assert photo["warnings"][0].startswith("it has no thumbnails in the report: ")
    assert photo["target"] == "./p0.png"


def test_as_large_as_the_batch_allows(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a run without a report are looked at with the limit of this one."""
    out, limits, real = tmp_path / "out", [], open_strips

    def opened(*given: Any, max_pixels: int, **more: Any) -> Any:
        limits.append(max_pixels)
        return real(*given, max_pixels=max_pixels, **more)

    monkeypatch.setattr(looking, "open_strips", opened)
    list(quantize_files(folder / "p0.png", out, 3))
    list(quantize_files(folder / "p0.png", out, 3, max_pixels=10**9, existing="skip", report=True))
    assert limits == [10**9, 10**9]


def test_failures_tell_names_and_not_where_they_are(folder: Path, tmp_path: Path) -> None:
    """Of a result that came in between, of one whose folder leads elsewhere, and of one that cannot be read."""
    out, elsewhere = tmp_path / "out, of mine", tmp_path / "else where"
    for place in (out, elsewhere):
        place.mkdir()
    job = quantize_files(folder, out, 3, recursive=True, report=True)
    (out / "p0.png").write_bytes(b"")
    (out / "sub").symlink_to(elsewhere)
    outcomes = by_name(job)
    assert outcomes["p0.png"].error == f"{out / 'p0.png'} exists"
    photos = photos_of(out / PAGE)
    assert photos["p0.png"]["error"] == "p0.png exists"
    error = "sub/p5.png is not written: it would go to else where, which is outside out, of mine"
    assert photos["p5.png"]["error"] == error
    (out / "p1.png").write_bytes((out / "p1.png").read_bytes()[:-1000])
    assert report_folder(out)[2] == 1
    assert photos_of(out / PAGE)["p1.png"]["error"].startswith("the result cannot be read: p1.png: ")


def test_colors_are_shown_as_they_look(china: Pixels, tmp_path: Path) -> None:
    """Of a profile that swaps channels, and of one that is kept."""
    profile = swapped_profile().tobytes()
    Image.fromarray(china).save(tmp_path / "a.png", icc_profile=profile)
    for keep in (False, True):
        out = tmp_path / f"keep-{keep}"
        (outcome,) = quantize_files(tmp_path / "a.png", out, 8, report=True, keep_profile=keep)
        result = quantize(tmp_path / "a.png", 8, keep_profile=keep).to_array()
        photo = china if keep else read_photo(tmp_path / "a.png").in_srgb()
        record = kept(outcome, out)
        assert record.ssim is not None
        assert record.ssim > 0.5
        for side, pixels in ((record.before, photo), (record.after, result)):
            with Image.open(out / FILES / str(side)) as image:
                assert ("icc_profile" in image.info) == keep
                assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 8, side


def test_photos_on_a_device_that_is_shared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those are held whole, as on a CUDA device."""
    by_strips, whole = tmp_path / "strips", tmp_path / "whole"
    list(quantize_files(folder, by_strips, 3, report=True))
    monkeypatch.setattr(file_work.FileWork, "_shares_launches", lambda self, place: True)
    list(quantize_files(folder, whole, 3, report=True))
    one, other = photos_of(by_strips / PAGE), photos_of(whole / PAGE)
    for photo in (*one.values(), *other.values()):
        del photo["seconds"], photo["bytesOut"]  # another encoder wrote it
    assert one == other
