"""The log of a batch as one wrote it, and lines that none wrote."""

import json
from pathlib import Path

import pytest

from gpuquant.batch.outcome import FileOutcome, OutcomeLog
from gpuquant.errors import ImageFileError
from gpuquant.locations import resolved
from gpuquant.report.log import read_log


def test_the_last_words_about_a_result(tmp_path: Path) -> None:
    target = tmp_path / "out" / "a.png"
    for size in (5, 7):
        with OutcomeLog(tmp_path / "log") as log:
            log.add_passed_over({".txt": 1}, 0)
            log.add(FileOutcome(Path("a.jpg"), target, "written", mse=0.0, psnr=float("inf"), bytes_out=size))
            log.add(FileOutcome(Path("a.jpg"), target, "skipped"))
            log.add(FileOutcome(Path("b.jpg"), tmp_path / "b.png", "failed", error="no such file"))
    read = read_log(tmp_path / "log")
    assert (read.n_known, read.n_unknown) == (8, 0)
    found = read.photos
    assert set(found) == {resolved(target), str(tmp_path / "b.png")}
    first, second = found[resolved(target)], found[str(tmp_path / "b.png")]
    assert (first.source, first.target) == (Path("a.jpg"), target)
    assert (first.record.name, first.record.mse, first.record.psnr, first.record.bytes_out) == ("a.jpg", 0, None, 7)
    assert (second.record.name, second.record.error) == ("b.jpg", "no such file")


def test_results_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    assert resolved(Path("link/a.png")) == resolved(Path("out/a.png")) == str(tmp_path / "out" / "a.png")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000,
        b'{"status": "written"}',
        b'{"status": ["written"], "source": "a", "target": "b"}',
        b'{"status": "written", "source": "a", "target": 3}',
        b'{"status": "written", "source": "a", "target": "b\\u0000"}',
        b'{"status": "written", "source": "a", "target": "b", "mse": NaN}',
        b'{"status": "skipped", "source": "a", "target": "b"}',
    ],
)  # fmt: skip
def test_other_lines_are_left_out(line: bytes, tmp_path: Path) -> None:
    good = json.dumps({"status": "written", "source": "a.jpg", "target": "/a.png", "mse": 2}).encode()
    (tmp_path / "log").write_bytes(line + b"\n" + good)
    log = read_log(tmp_path / "log")
    assert list(log.photos) == ["/a.png"]
    assert log.n_unknown == (0 if line.isspace() or not line or b"skipped" in line else 1)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="log cannot be read: No such file"):
        read_log(tmp_path / "log")
