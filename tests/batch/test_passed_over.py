"""Files in a folder that are no photos are counted by ending, with what would read them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from gpuquant import quantize, quantize_files
from gpuquant.batch import listing as batch_listing
from gpuquant.batch import passed_over as batch_passed_over
from gpuquant.batch.passed_over import passed_over_words
from gpuquant.errors import ArgumentError
from gpuquant.images.heif import INSTALL, avif_advice


@pytest.fixture
def no_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that pillow-heif is not installed."""
    monkeypatch.setattr(batch_listing, "register", lambda: INSTALL)
    monkeypatch.setattr(batch_passed_over, "register", lambda: INSTALL)
    Image.init()
    known = {ending: name for ending, name in Image.EXTENSION.items() if name not in ("HEIF", "AVIF")}
    monkeypatch.setattr(Image, "registered_extensions", lambda: known)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "in"
    (found / "sub").mkdir(parents=True)
    for name in ("a.HEIC", "b.heic", "sub/c.heic", "notes.txt", "README", ".hidden.txt", "sub/d.NEF"):
        (found / name).write_bytes(b"")
    return found


@pytest.mark.usefixtures("no_heic")
def test_they_are_counted_and_logged(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(folder / "photo.png")
    log = tmp_path / "log"
    (folder / "link.txt").symlink_to("notes.txt")
    job = quantize_files([folder, folder / "sub", folder], tmp_path / "out", 2, recursive=True, log=log)
    assert job.passed_over == {".heic": 3, ".txt": 2, "": 1, ".nef": 1}
    assert [outcome.status for outcome in job] == ["written"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[0] == {"status": "passed over", "endings": job.passed_over, "results": 0}
    assert [line["status"] for line in lines] == ["passed over", "written"]
    named = quantize_files([folder, folder / "notes.txt"], tmp_path / "named", 2)
    assert named.passed_over == {".heic": 2, ".txt": 1, "": 1}  # less one that is read


def test_earlier_results_are_counted_and_logged(tmp_path: Path) -> None:
    """They are known by what they say, with or without a suffix, and read where they are named."""
    folder, log = tmp_path / "in", tmp_path / "log"
    folder.mkdir()
    for name in ("a.bmp", "b.bmp"):
        Image.new("RGB", (2, 2)).save(folder / name)
        quantize(folder / name, 2).save((folder / name).with_suffix(".tif"))
    pages = Image.new("RGB", (2, 2))
    pages.save(folder / "c.tif", description="gpuquant is what I tried this with")  # a photo nevertheless
    (folder / "notes.txt").write_text("")
    for number, suffix in enumerate((None, "-x")):
        job = quantize_files([folder, folder], tmp_path / str(number), 2, suffix=suffix, log=log)
        assert [file.source.name for file in job.files] == ["a.bmp", "b.bmp", "c.tif"]
        assert (job.passed_over, job.results_passed_over) == ({".txt": 1}, 2)
        assert [outcome.status for outcome in job] == ["written"] * 3
    first = json.loads(log.read_text().splitlines()[0])
    assert first == {"status": "passed over", "endings": {".txt": 1}, "results": 2}
    named = quantize_files([folder, folder / "a.tif"], tmp_path / "named", 2, image_format="gif")
    assert ([file.source.name for file in named.files], named.results_passed_over) == (
        ["a.bmp", "b.bmp", "c.tif", "a.tif"],
        1,
    )


@pytest.mark.usefixtures("no_heic")
def test_a_folder_of_nothing_else_says_what_it_has(folder: Path, tmp_path: Path) -> None:
    words = r"; 4 passed over: 2 \.heic \(pip install 'gpuquant\[heic\]'\), 1 without an ending, 1 \.txt; sub-folders"
    with pytest.raises(ArgumentError, match=f"no image files to read in {folder}{words}"):
        quantize_files(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_passed_over, "register", lambda: INSTALL)
    assert passed_over_words({".txt": 1, ".heic": 6}) == "7 passed over: 6 .heic (pip install 'gpuquant[heic]'), 1 .txt"
    assert passed_over_words({".avif": 1}) == f"1 passed over: 1 .avif ({avif_advice()})"
    assert passed_over_words({".cr3": 2}) == "2 passed over: 2 .cr3 (raw photos: develop them first)"
    many = {f".{letter}": 2 for letter in "abcdefg"}
    assert passed_over_words(many) == "14 passed over: 2 .a, 2 .b, 2 .c, 2 .d, 2 .e, 4 others"
    assert passed_over_words({".txt": 1}, 1) == "2 passed over: 1 .txt, 1 result of gpuquant"
    assert passed_over_words({}, 2) == "2 passed over: 2 results of gpuquant"
    hostile = passed_over_words({"." + "\x1b" * 200: 1})
    assert hostile.isprintable()
    assert len(hostile) < 60
    monkeypatch.setattr(batch_passed_over, "register", lambda: None)
    assert passed_over_words({".heic": 6}) == "6 passed over: 6 .heic"
    monkeypatch.setattr(batch_passed_over, "register", lambda: "pillow-heif does not work: no libheif")
    assert passed_over_words({".heic": 6}) == "6 passed over: 6 .heic (pillow-heif does not work: no libheif)"
