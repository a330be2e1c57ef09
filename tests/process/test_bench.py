"""gpuquant bench: what is measured is checked, and what cannot run is said."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from conftest import Pixels
from PIL import Image

from gpuquant import quantize
from gpuquant.bench import measuring as benchmark
from gpuquant.bench import peers as benchmark_peers
from gpuquant.bench.measuring import measure, measure_apart, read_pixels, sample_photo, stored, table
from gpuquant.bench.peers import Quantizer, quantizers, torch_step
from gpuquant.bench.quantized import Quantized
from gpuquant.cli import bench_command as cli_bench

ROOT = Path(__file__).parents[2]
STAYING = """
import os, sys, time
from pathlib import Path
import numpy as np
from gpuquant.bench.measuring import measure_apart, stored
from gpuquant.bench.peers import Quantizer

def stay(photo, n_colors):
    print("noise", file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with stored(np.zeros((4, 4, 3), np.uint8)) as file:
        measure_apart(Quantizer("stay", "numpy", stay), file, 2, rounds=1, most_seconds=1)
"""


def black_and_white(photo: Pixels, _: int) -> Quantized:
    levels = np.array([[-3.0, 0.4, 0.0], [254.6, 300, 255]])
    return Quantized(levels, (photo.mean(axis=2) > 127).reshape(-1).astype(np.int32), 7)


def test_a_measurement_is_of_what_would_be_written(china: Pixels) -> None:
    found = measure(Quantizer("two", "numpy", black_and_white), china, 2, rounds=3, most_seconds=60)
    expected = np.where(china.mean(axis=2, keepdims=True) > 127, 255, 0)
    assert found.mse == pytest.approx(np.square(china.astype(int) - expected).sum(axis=2).mean())
    assert (len(found.seconds), found.n_colors, found.n_pixels) == (3, 2, china.shape[0] * china.shape[1])
    assert (found.version, found.n_iter) == (np.__version__, 7)
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / (found.mse / 3)))


def test_what_takes_long_runs_once(china: Pixels) -> None:
    found = measure(Quantizer("two", "numpy", black_and_white), china, 2, rounds=3, most_seconds=1e-9)
    assert len(found.seconds) == 1


def black_or_third(photo: Pixels, n_colors: int) -> Quantized:
    found = black_and_white(photo, n_colors)
    return Quantized(found.palette, found.labels * 2)


def fail(photo: Pixels, n_colors: int) -> Quantized:
    raise RuntimeError("no\nluck")


def die(photo: Pixels, n_colors: int) -> Quantized:
    os._exit(3)


def stay(photo: Pixels, n_colors: int) -> Quantized:
    time.sleep(600)
    raise AssertionError


def test_a_process_of_its_own_gives_the_same(china: Pixels, tmp_path: Path) -> None:
    two = Quantizer("two", "numpy", black_and_white)
    with stored(china) as file:
        labels = tmp_path / "labels.npy"
        found = measure_apart(two, file, 2, rounds=2, most_seconds=60, labels_file=labels)
    assert not file.exists()
    here = measure(two, china, 2, rounds=2, most_seconds=60)
    assert (found.mse, found.n_colors, len(found.seconds), found.version) == (here.mse, 2, 2, here.version)
    np.testing.assert_array_equal(np.load(labels), china.mean(axis=2) > 127)


@pytest.mark.parametrize(
    ("run", "limit", "problem"),
    [(die, 300, "exit code 3"), (stay, 4, "stopped after 4 s"), (fail, 300, "no luck")],
)
def test_a_process_that_gives_nothing_is_a_problem(china: Pixels, run: Any, limit: float, problem: str) -> None:
    with stored(china) as file:
        found = measure_apart(Quantizer("bad", "numpy", run), file, 2, rounds=2, most_seconds=60, limit=limit)
    assert found.seconds == ()
    assert problem in found.problem
    assert found.n_pixels == china.shape[0] * china.shape[1]


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    script, told = tmp_path / "staying.py", tmp_path / "process"
    script.write_text(STAYING)
    started = subprocess.Popen(
        [sys.executable, script, told], env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 120
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    process = int(told.read_text())
    assert is_there(process)
    started.kill()
    assert started.communicate()[1] == b""
    while is_there(process) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_there(process)


@pytest.mark.parametrize(
    ("quantizer", "n_colors", "problem"),
    [
        (Quantizer("missing", "no-such-package", black_and_white), 2, "not installed: pip install no-such-package"),
        (Quantizer("failing", "numpy", fail), 2, "RuntimeError: no luck"),
        (Quantizer("wrong", "numpy", black_and_white), 1, "2 colors in place of 1"),
        (Quantizer("astray", "numpy", black_or_third), 9, "labels from 0 to 2 for 2 colors"),
        (Quantizer("short", "numpy", lambda photo, _: Quantized(photo[0], np.zeros(5, int))), 9, "ValueError"),
    ],
)
def test_what_cannot_run_is_a_problem(china: Pixels, quantizer: Quantizer, n_colors: int, problem: str) -> None:
    found = measure(quantizer, china, n_colors, rounds=2, most_seconds=60)
    assert found.seconds == ()
    assert problem in found.problem
    assert f"not measured: {quantizer.name}: " in table([found])


def test_every_peer_that_is_here_gives_a_picture(china: Pixels) -> None:
    found = [measure(one, china, 8, rounds=1, most_seconds=60) for one in quantizers("cpu")]
    for one in found:
        assert one.seconds or one.problem.startswith("not installed"), one.problem
    ours = quantize(china, 8)
    assert found[0].mse == ours.mse
    assert all(one.n_colors <= 8 for one in found)
    done = [one for one in found if one.seconds]
    assert len(done) >= 9  # ours, scikit-learn's and Pillow's need nothing else
    assert max(one.mse for one in done) < 10 * ours.mse
    lines = table(found).splitlines()
    assert len({line.count("|") for line in lines[: len(done) + 2]}) == 1
    assert f"{ours.mse:.2f}" in lines[2]


def test_plain_torch_adds_up_exactly() -> None:
    """Sums of as many points in single precision would round."""
    levels = np.random.RandomState(0).randint(240, 256, (300_000, 3))
    points = torch.from_numpy(levels.astype(np.float32))
    sums, counts, labels = torch_step(points, torch.tensor([[247.0, 247, 247], [0, 0, 0]]))
    assert sums.tolist() == [levels.sum(axis=0).tolist(), [0, 0, 0]]
    assert counts.tolist() == [300_000, 0]
    assert not labels.any()


def touching(photo: Pixels, n_colors: int) -> Quantized:
    np.ones(25_000_000)  # 200 MB
    return black_and_white(photo, n_colors)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counter")
def test_memory_is_that_at_the_peak(china: Pixels) -> None:
    found = measure(Quantizer("touching", "numpy", touching), china, 2, rounds=1, most_seconds=60)
    assert found.peak_megabytes is not None
    assert 190 < found.peak_megabytes < 260


def test_the_sample_photo_is_always_the_same() -> None:
    photo = sample_photo(274, 183)
    assert photo.shape == (183, 274, 3)
    np.testing.assert_array_equal(photo, sample_photo(274, 183))


def test_large_sample_photos_are_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "LARGEST_TILE", 50 * 40)
    photo = sample_photo(101, 80).astype(int)  # 2.02 times as wide: three tiles a side
    assert photo.shape == (80, 101, 3)
    tile, right, below = photo[:27, :34], photo[:27, 67:33:-1], photo[53:26:-1, :34]
    for mirrored in (right, below):
        assert 0 < np.abs(tile[:, : mirrored.shape[1]] - mirrored).mean() < 4  # the same but for the noise


def test_a_photo_is_read_as_it_looks(tmp_path: Path) -> None:
    clear = np.zeros((40, 60, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    pixels = read_pixels(tmp_path / "clear.png", 0.0006, 10_000)
    assert pixels.shape == (20, 30, 3)
    assert (pixels == 255).all()
    Image.fromarray(clear[..., 0]).save(tmp_path / "grey.png")
    assert read_pixels(tmp_path / "grey.png", None, 10_000).shape == (40, 60, 3)


def test_the_command(
    china: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = quantizers("cpu")
    some = [every[0], every[-1], Quantizer("none", "no-such", fail)]
    monkeypatch.setattr(benchmark_peers, "quantizers", lambda _: some)
    photo, out = tmp_path / "photo.png", tmp_path / "figures.json"
    Image.fromarray(china).save(photo)
    code, printed, err = run(["bench", photo, "-k", 4, "--quick", "--out", out], monkeypatch, capsys)
    assert code == 0
    assert "214 x 143 pixels, 4 colors" in printed
    assert "not measured: none: not installed: pip install no-such" in printed
    assert str(out) in err
    figures = json.loads(out.read_text())
    (found,) = figures["tables"]
    assert [one["name"] for one in found["measurements"]] == [one.name for one in some]
    assert found["measurements"][0]["mse"] == quantize(china, 4).mse
    assert found["measurements"][0]["first_seconds"] > 0
    assert figures["machine"]["python"] == sys.version.split()[0]
    assert run(["bench", photo, "--out", out], monkeypatch, capsys)[0] == 2  # it exists
    assert run(["bench", tmp_path / "missing.png"], monkeypatch, capsys)[0] == 1


def test_peers_run_from_fast_to_slow() -> None:
    """As far as stored times are well apart, which those of another machine leave in order."""
    stored_results = json.loads((ROOT / "benchmarks" / "results" / "quantize-cpu.json").read_text())
    seconds: dict[str, list[float]] = {}
    for one in stored_results["tables"]:
        if (one["kind"], one["photo"]) == ("peers", "china.jpg, 13MP"):
            for row in one["measurements"]:
                seconds.setdefault(row["name"], []).append(float(np.median(row["seconds"] or [300])))
    means = {name: float(np.exp(np.log(found).mean())) for name, found in seconds.items()}
    every = quantizers("cpu")
    assert [one.rank for one in every[:3]] == [0, 0, 0]  # ours
    peers = sorted((one for one in every[3:] if one.name in means), key=lambda one: one.rank)
    assert len(peers) > 10
    assert peers[0].rank > 0
    for first, second in itertools.combinations(peers, 2):
        assert means[first.name] < 2 * means[second.name], f"{first.name} before {second.name}"


def test_quick_runs_what_is_fast_and_begins_nothing_late(
    china: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def limited(quantizer: Quantizer, *_: Any, limit: float, **settings: Any) -> benchmark.Measurement:
        begun.append(quantizer.name)
        clock[0] += limit
        assert limit == (cli_bench.QUICK_LIMIT if quick else cli_bench.LIMIT)
        if quantizer.name == "ours":
            return measure(quantizer, china, 2, rounds=1, most_seconds=1)
        return benchmark.not_measured(quantizer, 1, f"stopped after {limit:.3g} s")

    begun: list[str] = []
    clock = [7.0]  # seconds, which limits are taken from
    every = [Quantizer("ours", "numpy", black_and_white), Quantizer("gone", "no-such", black_and_white, 30)]
    every += [Quantizer(f"peer {rank}", "numpy", black_and_white, rank) for rank in range(20, 0, -1)]
    monkeypatch.setattr(cli_bench, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(benchmark, "measure_apart", limited)
    monkeypatch.setattr(benchmark_peers, "quantizers", lambda _: every)
    photo, out = tmp_path / "photo.png", tmp_path / "figures.json"
    Image.fromarray(china).save(photo)
    quick = True
    code, printed, _ = run(["bench", photo, "--quick", "--out", out], monkeypatch, capsys)
    assert code == 0
    n_begun = 115 // 15
    assert begun == ["ours", *(f"peer {rank}" for rank in range(1, n_begun))]
    (found,) = json.loads(out.read_text())["tables"]
    assert [one["name"] for one in found["measurements"]] == [one.name for one in every]  # in the order of the list
    problems = {one["name"]: one["problem"] for one in found["measurements"]}
    assert problems.pop("gone") == "not installed: pip install no-such"
    assert [problems.pop(name) for name in begun] == ["", *(n_begun - 1) * ["stopped after 15 s"]]
    assert set(problems.values()) == {"no time was left of the two minutes; run without --quick"}
    assert f"not measured: peer 20: {problems['peer 20']}" in printed
    begun.clear()
    quick = False
    assert run(["bench", photo], monkeypatch, capsys)[0] == 0
    assert len(begun) == 21


def test_no_photo_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed, err = run(["bench", "-"], monkeypatch, capsys)
    assert (code, printed) == (2, "")
    assert err == "gpuquant: bench reads no photo from standard input (-); name a file\n"


def test_ctrl_c_shows_what_is_there(
    china: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(quantizer: Quantizer, *_: Any, **settings: Any) -> benchmark.Measurement:
        if quantizer.name == "two":
            return measure(quantizer, china, 2, rounds=1, most_seconds=1)
        raise KeyboardInterrupt

    pair = [Quantizer("two", "numpy", black_and_white), Quantizer("three", "numpy", black_and_white)]
    monkeypatch.setattr(benchmark, "measure_apart", interrupted)
    monkeypatch.setattr(benchmark_peers, "quantizers", lambda _: pair)
    Image.fromarray(china).save(tmp_path / "photo.png")
    code, printed, err = run(["bench", tmp_path / "photo.png"], monkeypatch, capsys)
    assert code == 130
    assert "| two, " in printed
    assert "interrupted after 1 of 2" in err
