"""gpuquant report, and gpuquant batch --report: lines and exit codes."""

from pathlib import Path

import pytest
from commands import run

from gpuquant.batch import page
from gpuquant.errors import ImageFileError

pytestmark = pytest.mark.usefixtures("no_place_is_told")


def test_the_report_of_a_batch_and_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    given = ["batch", "photos", "-o", "out", "-k", "3", "--log", "log"]
    code, _, _ = run([*given, "--report"], monkeypatch, capsys)
    assert code == 1  # one photo is broken
    page = (folder.parent / "out" / "report.html").read_bytes()
    code, out, err = run(["report", "out", "--log", "log"], monkeypatch, capsys)
    assert (code, out, err) == (0, "wrote out/report.html: 7 photos, 1 failed\n", "")
    assert (folder.parent / "out" / "report.html").read_bytes() == page
    code, out, _ = run(["report", "out"], monkeypatch, capsys)
    assert (code, out) == (0, "wrote out/report.html: 6 photos\n")
    (folder.parent / "out" / "report.html").write_text("mine")
    for line in ([*given, "--report", "--force"], ["report", "out"]):
        code, _, err = run(line, monkeypatch, capsys)
        assert code == 2
        assert err.endswith("it does not say that gpuquant wrote it; move or rename it\n")


def test_a_page_of_an_earlier_run_is_not_announced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ImageFileError("out/report.html cannot be written: No space left on device")

    monkeypatch.chdir(folder.parent)
    given = ["batch", "photos/p0.png", "-o", "out", "-k", "3", "--report", "--force"]
    assert "wrote out/report.html\n" in run(given, monkeypatch, capsys)[1]
    monkeypatch.setattr(page, "write_page", full)
    code, out, err = run(given, monkeypatch, capsys)
    assert (code, err) == (1, "gpuquant: out/report.html cannot be written: No space left on device\n")
    assert "1 written" in out
    assert "report.html" not in out


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["missing"], 2, "missing is not a folder; name one that holds results"),
        ([".", "--log", "missing"], 1, "missing cannot be read: No such file or directory"),
        (["."], 2, "holds no results that say that gpuquant wrote them"),
    ],
)
def test_errors_are_one_line(
    given: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(["report", *given], monkeypatch, capsys)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
