"""gpuquant batch as a process: kills, interrupts, full disks, no terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import all_shown
from commands import run as run_here
from conftest import Pixels
from PIL import Image

import gpuquant
from gpuquant.cli.batch_progress import BatchProgress

COMMAND = [sys.executable, "-m", "gpuquant", "batch"]
HELD = """
import itertools, time
from gpuquant.batch.file_work import FileWork
from gpuquant.cli.app import program

write, numbers = FileWork.write, itertools.count(1)

def held(*given, is_stopped):
    if next(numbers) > 6:
        while not is_stopped():
            time.sleep(0.01)
    return write(*given, is_stopped=is_stopped)

FileWork.write = held
program()
"""
HELD_COMMAND = [sys.executable, "-c", HELD, "batch"]  # goes on to a seventh photo when it is stopped, never before


@pytest.fixture
def photos(china: Pixels, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    large = np.tile(china, (6, 6, 1))
    for number in range(12):
        Image.fromarray(large[number:]).save(folder / f"p{number:02}.jpg")
    return folder


def run(*given: object, **settings: object) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload, no-any-return]


def whole(folder: Path) -> list[str]:
    """The names of the results, all of which can be decoded."""
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        with Image.open(folder / name) as image:
            image.load()
            assert image.mode == "P"
    return names


def wait_for_results(process: "subprocess.Popen[bytes]", folder: Path, n_files: int) -> None:
    while process.poll() is None and len(list(folder.glob("*.png"))) < n_files:
        time.sleep(0.005)
    assert process.poll() is None


def n_told(log: Path, status: str) -> int:
    return [json.loads(line)["status"] for line in log.read_text().splitlines()].count(status)


def test_a_killed_job_is_taken_up_where_it_stopped(photos: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    given = [str(photos), "-o", str(out), "-k", "4", "--jobs", "2", "--log", str(log), "--skip-existing"]
    process = subprocess.Popen([*HELD_COMMAND, *given], stdout=subprocess.DEVNULL)
    wait_for_results(process, out, 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {name: (out / name).stat().st_mtime_ns for name in whole(out)}
    assert 2 <= len(before) <= 6
    n_told_before = n_told(log, "written")
    assert n_told_before <= len(before)
    done = run(*given)
    assert done.returncode == 0, done.stderr
    assert f"{12 - len(before)} written, {len(before)} skipped" in done.stdout
    assert whole(out) == [f"p{number:02}.png" for number in range(12)]
    assert all((out / name).stat().st_mtime_ns == changed for name, changed in before.items())
    assert n_told(log, "skipped") == len(before)
    assert n_told(log, "written") == n_told_before + 12 - len(before)


def test_an_interrupt_finishes_what_is_in_flight(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*HELD_COMMAND, str(photos), "-o", str(out), "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_results(process, out, 1)
    process.send_signal(signal.SIGINT)
    printed, errors = (stream.decode() for stream in process.communicate())
    assert process.returncode == 130
    assert "finishing what is in flight" in errors
    names = whole(out)
    assert 1 <= len(names) <= 6 + 2
    lines = printed.splitlines()
    assert len(lines) == len(names) + 1
    assert lines[-1].startswith(f"{len(names)} written; ")


def test_failures_are_lines_and_the_exit_code(photos: Path, tmp_path: Path) -> None:
    (photos / "p03.jpg").write_bytes((photos / "p03.jpg").read_bytes()[:5000])
    Image.open(photos / "p04.jpg").save(photos / "p04.png")
    done = run(photos, tmp_path / "nothing.jpg", "-o", tmp_path / "out", "-k", 3)
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert len(errors) == 2
    assert any(f"{photos / 'p03.jpg'}: the image cannot be decoded: image file is truncated" in line for line in errors)
    assert f"gpuquant: {tmp_path / 'nothing.jpg'}: no such file" in errors
    assert "12 written, 2 failed; " in done.stdout.splitlines()[-1]
    assert {"p04.jpg.png", "p04.png.png"} <= set(whole(tmp_path / "out"))
    again = run(photos, "-o", tmp_path / "out")
    assert again.returncode == 2
    assert "exist already" in again.stderr
    assert run(photos / "p00.jpg", "-o", tmp_path / "quiet", "--quiet").stdout == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def check_no_room(out: Path, done: "subprocess.CompletedProcess[str]", n_left: int) -> None:
    assert done.returncode == 1
    names = whole(out)
    assert 1 <= len(names) < 12
    errors = [line for line in done.stderr.splitlines() if "not begun" not in line]
    assert len(errors) == 12 - len(names) - n_left > 0
    assert all("cannot be written: " in line for line in errors)
    assert f"{len(names)} written, {len(errors)} failed" in done.stdout


def test_a_full_disk_leaves_whole_files(photos: Path, small_disk: Path) -> None:
    done = run(photos, "-o", small_disk / "out", "-k", 8, "-j", 1)
    found = re.search(r" has no room left, and ([0-9]+) photos were not begun; .*--skip-existing\n$", done.stderr)
    assert found
    check_no_room(small_disk / "out", done, int(found[1]))


def test_files_may_be_no_larger(photos: Path, tmp_path: Path) -> None:
    """A limit of the system on the size of a file stands in for a full disk where none can be mounted."""
    Image.new("RGB", (50, 50), "red").save(photos / "p00.jpg")
    limit = "import resource, signal, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", limit, "-m", "gpuquant", "batch", photos, "-o", tmp_path / "out", "-k", "8"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    check_no_room(tmp_path / "out", done, 0)


def test_a_terminal_shows_progress(photos: Path, tmp_path: Path) -> None:
    (photos / "p00.jpg").write_bytes(b"broken")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [*COMMAND, str(photos), "-o", str(tmp_path / "out"), "--shared-palette", "-k", "4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    shown = all_shown(ours)
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    process.stdout.close()
    assert process.wait() == 1
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    for stage, end in (
        ("counting colors", r"11/11 \d:\d\d:\d\d 1 failed$"),
        ("finding the palette", r"\d:\d\d:\d\d$"),
        ("writing", r"11/11 \d:\d\d:\d\d [\d.]+ MP/s, 1 failed$"),
    ):
        last = [line.strip() for line in lines if line.startswith(stage)][-1]
        assert re.search(end, last), last
    assert f"gpuquant: {photos / 'p00.jpg'}: it is not an image" in "".join(lines)
    assert printed.startswith("11 written, 1 failed; ")
    assert len(printed.splitlines()) == 1
    assert (tmp_path / "out" / "palette.hex").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "| head -1"])
def test_closed_streams_lose_no_results(closed: str, photos: Path, tmp_path: Path) -> None:
    command = f"{' '.join(COMMAND)} {photos} -o {tmp_path / 'out'} -k 3 --jobs 4 {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "terminate" not in done.stderr
    names = whole(tmp_path / "out")
    assert len(names) == 12 or (closed == "| head -1" and names)


@pytest.mark.filterwarnings("default")
def test_the_options_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A suffix beside the photos, what an earlier run made, and what is passed over."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2), "red").save(folder / name)
    (folder / "c.txt").write_bytes(b"")
    given = ["batch", folder, "--suffix", "-x"]
    code, out, _ = run_here([*given, "-k", 2], monkeypatch, capsys)
    assert code == 0
    assert out.splitlines()[-1].startswith("2 written; 1 passed over: 1 .txt; 0.0 megapixels in ")
    assert sorted(path.name for path in folder.iterdir()) == ["a-x.png", "a.png", "b-x.png", "b.png", "c.txt"]
    code, out, err = run_here([*given, "-k", 3, "--skip-existing"], monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert "a-x.png was made with " in err
    assert "write those anew with --skip-existing --force, or choose" in err
    Image.open(folder / "b-x.png").save(folder / "b-x.png")
    code, out, err = run_here([*given, "-k", 2, "--skip-existing"], monkeypatch, capsys)
    assert (code, out.splitlines()[-1][:11]) == (0, "2 skipped; ")
    assert err == "gpuquant: 1 of 2 results do not say what they were made with; they are taken as they are\n"
    (folder / "b-x.png").unlink()
    code, out, err = run_here([*given, "-k", 2, "--skip-existing", "--force"], monkeypatch, capsys)
    assert (code, err, out.splitlines()[-1][:22]) == (0, "", "1 written, 1 skipped; ")
    code, _, err = run_here(["batch", folder], monkeypatch, capsys)
    assert code == 2
    assert "--output" in err
    assert "--suffix" in err
    code, _, err = run_here(["batch", folder, "-o", tmp_path / "out", "--format", "jpg"], monkeypatch, capsys)
    assert code == 2
    assert "--format" in err
    assert "image_format" not in err


@pytest.mark.filterwarnings("default")
def test_quiet_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of results that do not say what they were made with, too."""
    for place in ("in", "out"):
        (tmp_path / place).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / place / "a.png")
    given = ["batch", tmp_path / "in", "-o", tmp_path / "out", "--skip-existing", "--quiet"]
    assert run_here(given, monkeypatch, capsys) == (0, "", "")


def test_failures_and_notes_are_in_the_words_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But not the names of files, which may be those of arguments."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "n_colors.png")
    given = ["batch", tmp_path / "in", "-o", tmp_path / "out"]
    code, _, err = run_here([*given, "--max-pixels", 10], monkeypatch, capsys)
    assert code == 1
    assert err.startswith(f"gpuquant: {tmp_path / 'in' / 'n_colors.png'}: ")
    assert "raise it with --max-pixels" in err
    assert "max_pixels" not in err
    (tmp_path / "away").mkdir()
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "in").symlink_to(tmp_path / "away")
    code, _, err = run_here(["batch", tmp_path / "in", tmp_path, "-o", tmp_path / "out"], monkeypatch, capsys)
    assert code == 1
    assert f"{tmp_path / 'out' / 'in' / 'n_colors.png'} is not written" in err
    outcome = gpuquant.FileOutcome(Path("a"), Path("b"), "written", mse=0.0, warnings=("see keep_profile=True",))
    BatchProgress(quiet=False).add(outcome)
    assert capsys.readouterr().err == "gpuquant: a: see --keep-profile True\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--shared-palette"], "--palette and --shared-palette exclude each other; give one of them"),
        (["-k", 3], "it excludes -k, --target-psnr, --color-space, --effort and --weighting"),
    ],
)
def test_arguments_that_exclude_each_other(
    given: list[object],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run_here(["batch", tmp_path, "-o", "out", "--palette", "#000,#fff", *given], monkeypatch, capsys)
    assert code == 2
    assert err.endswith(f"{words}\n")


def test_other_photos_of_a_shared_palette(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way out that the message names is one."""
    for number in (1, 2):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / f"{number}.png")
    given = ["batch", "-o", tmp_path / "out", tmp_path / "1.png"]
    assert run_here([*given, "--shared-palette"], monkeypatch, capsys)[0] == 0
    given += [tmp_path / "2.png", "--skip-existing"]
    code, _, err = run_here([*given, "--shared-palette"], monkeypatch, capsys)
    assert code == 2
    ways_out = "write those anew with --skip-existing --force, or apply theirs to the new photos, with --palette\n"
    assert err.endswith(f"; {ways_out}")
    code, out, _ = run_here([*given, "--palette", tmp_path / "out" / "palette.hex"], monkeypatch, capsys)
    assert (code, out.splitlines()[-1][:22]) == (0, "1 written, 1 skipped; ")
    code, out, _ = run_here([*given, "--shared-palette", "--force"], monkeypatch, capsys)
    assert (code, out.splitlines()[-1][:11]) == (0, "2 written; ")


def test_a_folder_that_cannot_be_written_is_one_line(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_here(["batch", photos, "-o", "/proc/nowhere"], monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert err.startswith("gpuquant: /proc/nowhere cannot be written: ")
    assert len(err.splitlines()) == 1
