"""KMeans beside scikit-learn's in one run: time, agreement, memory. Disagreement fails.

The pixels are those of the article: `np.divide(image, 255).reshape(-1, 3)` of 13.7 megapixels, float64.
Run: pytest benchmarks/bench_estimator.py
"""

import io
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import InTurn, Pixels, Report, large_photo, seconds_of
from PIL import Image
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import load_sample_image

import gpuquant

ROUNDS = 5
MOST_SECONDS = 10  # after which scikit-learn does not run again
AS_JPEG = " as a JPEG"
CHINA = f"china_13mp{AS_JPEG}"


def _image(name: str) -> Pixels:
    """A photo as a JPEG holds it."""
    image = large_photo(name.removesuffix(AS_JPEG))
    if not name.endswith(AS_JPEG):
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92)
    return np.array(Image.open(file))


@pytest.mark.parametrize(
    ("name", "n_clusters", "max_iter", "reach", "aim"),
    [
        (CHINA, 8, 5, 1 / 22, 1 / 35),
        (CHINA, 8, 300, 1 / 15, 1 / 25),
        (CHINA, 64, 5, 1 / 10, 1 / 20),
        ("bryggen_17mp", 8, 5, 1 / 22, 1 / 35),
        ("bryggen_17mp", 8, 300, 1 / 15, 1 / 25),
    ],
)
def test_pixels(
    benchmark: Any, report: Report, name: str, n_clusters: int, max_iter: int, reach: float, aim: float
) -> None:
    samples = np.divide(_image(name), 255).reshape(-1, 3)
    settings: dict[str, Any] = {"n_clusters": n_clusters, "random_state": 0, "verbose": 0, "max_iter": max_iter}
    ours, theirs = gpuquant.KMeans(**settings).fit(samples), Reference(**settings)
    times: list[float] = []

    def peer() -> None:
        if sum(times) < MOST_SECONDS:
            times.append(seconds_of(lambda: theirs.fit(samples)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        benchmark.pedantic(lambda: gpuquant.KMeans(**settings).fit(samples), setup=peer, rounds=ROUNDS)
    time_ours, time_theirs = statistics.median(benchmark.stats.stats.data), statistics.median(times)

    differ = int((ours.labels_ != theirs.labels_).sum())
    assert differ <= 1e-5 * len(samples)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-6)
    palettes = [(model.cluster_centers_ * 255).round() for model in (ours, theirs)]
    np.testing.assert_array_equal(*palettes)
    assert ours.n_iter_ == theirs.n_iter_

    beside = f"ours {time_ours:.2f} s, scikit-learn {time_theirs:.1f} s (median of {len(times)})"
    beside = f"{beside}, {differ} labels differ, n_iter {ours.n_iter_}"
    report(
        f"{name}, K = {n_clusters}, max_iter {max_iter}: time / scikit-learn's",
        time_ours / time_theirs,
        reach,
        aim,
        beside,
    )


@pytest.mark.parametrize("name", [CHINA, "mr_lee_13mp"])
def test_single_precision(in_turn: InTurn, report: Report, name: str) -> None:
    """float32 pixels start from the same centers; scikit-learn's own labels depend on its threads."""
    samples = np.divide(_image(name), 255, dtype=np.float32).reshape(-1, 3)
    settings: dict[str, Any] = {"n_clusters": 8, "n_init": 1, "random_state": 0, "max_iter": 5}
    seconds, found = in_turn(
        {
            "ours": lambda: gpuquant.KMeans(**settings).fit(samples),
            "theirs": lambda: Reference(**settings).fit(samples),
        },
        2,
    )
    differ = float((found["ours"].labels_ != found["theirs"].labels_).mean())
    assert differ < 0.02
    beside = f"ours {seconds['ours']:.2f} s, scikit-learn {seconds['theirs']:.1f} s, {differ:.2%} of the labels differ"
    what = f"{name}, float32, K = 8, max_iter 5: time / scikit-learn's"
    report(what, seconds["ours"] / seconds["theirs"], 1 / 2, 1 / 5, beside)


def test_elbow(in_turn: InTurn, report: Report) -> None:
    """The sum of squares for two to eight clusters, to see where it bends, of a photo that is shown on screens."""
    samples = np.divide(load_sample_image("flower.jpg"), 255).reshape(-1, 3)

    def fits(kind: Any) -> list[Any]:
        return [kind(n_clusters=k, n_init=1, random_state=0).fit(samples) for k in range(2, 9)]

    seconds, found = in_turn({"ours": lambda: fits(gpuquant.KMeans), "theirs": lambda: fits(Reference)}, ROUNDS)
    for ours, theirs in zip(found["ours"], found["theirs"], strict=True):
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    _report_ratio(report, "flower.jpg, K = 2 to 8: time / scikit-learn's", seconds, 1 / 6, 1 / 12)


@pytest.mark.parametrize("n_samples", [1000, 5000, 30_000])
def test_few_pixels(in_turn: InTurn, report: Report, n_samples: int) -> None:
    pixels = np.divide(load_sample_image("flower.jpg"), 255).reshape(-1, 3)
    samples = pixels[np.random.RandomState(0).permutation(len(pixels))[:n_samples]]
    kinds = {"ours": gpuquant.KMeans, "theirs": Reference}
    fits = {
        name: lambda kind=kind: kind(n_clusters=8, n_init=1, random_state=0).fit(samples)
        for name, kind in kinds.items()
    }
    seconds, found = in_turn(fits, 3 * ROUNDS)
    np.testing.assert_array_equal(found["ours"].labels_, found["theirs"].labels_)
    what = f"{n_samples} pixels of flower.jpg, K = 8: time / scikit-learn's"
    _report_ratio(report, what, seconds, 1 / 2, 1 / 4)


@pytest.mark.parametrize("n_clusters", [8, 64])
def test_predict(in_turn: InTurn, report: Report, n_clusters: int) -> None:
    samples = np.divide(_image(CHINA), 255).reshape(-1, 3)
    theirs = Reference(n_clusters, random_state=0, max_iter=5).fit(samples[::50])
    ours = gpuquant.KMeans(n_clusters, init=theirs.cluster_centers_, n_init=1, max_iter=1).fit(samples[::50])
    ours.cluster_centers_ = theirs.cluster_centers_
    seconds, found = in_turn({"ours": lambda: ours.predict(samples), "theirs": lambda: theirs.predict(samples)}, ROUNDS)
    np.testing.assert_array_equal(found["ours"], found["theirs"])
    what = f"{CHINA}, predict, K = {n_clusters}: time / scikit-learn's"
    _report_ratio(report, what, seconds, 1 / 4, 1 / 8)


def _report_ratio(report: Report, what: str, seconds: dict[str, float], reach: float, aim: float) -> None:
    beside = f"ours {seconds['ours']:.4f} s, scikit-learn {seconds['theirs']:.4f} s"
    report(what, seconds["ours"] / seconds["theirs"], reach, aim, beside)


@pytest.mark.parametrize(("kind", "reach", "aim"), [("clusters", 0.4, 0.25), ("noise", 0.55, 0.4)])
def test_general_data(benchmark: Any, report: Report, kind: str, reach: float, aim: float) -> None:
    """Samples of 32 normal distributions, of which most are soon settled, and of one, of which few ever are."""
    random = np.random.RandomState(0)
    samples = random.normal(0, 1, (1_000_000, 8))
    if kind == "clusters":
        samples += 4 * random.normal(0, 1, (32, 8))[random.randint(0, 32, 1_000_000)]
    init: npt.NDArray[np.float64] = samples[:32]
    settings: dict[str, Any] = {"n_clusters": 32, "init": init, "n_init": 1, "max_iter": 20, "tol": 0}
    ours, theirs = gpuquant.KMeans(**settings).fit(samples), Reference(**settings).fit(samples)
    times: list[float] = []
    benchmark.pedantic(
        lambda: gpuquant.KMeans(**settings).fit(samples),
        setup=lambda: times.append(seconds_of(lambda: Reference(**settings).fit(samples))),
        rounds=ROUNDS,
    )
    time_ours, time_theirs = statistics.median(benchmark.stats.stats.data), statistics.median(times)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    beside = f"ours {time_ours:.2f} s, scikit-learn {time_theirs:.2f} s"
    what = f"1,000,000 x 8 float64, {kind}, K = 32, 20 iterations: time / scikit-learn's"
    report(what, time_ours / time_theirs, reach, aim, beside)


MEMORY = """
import sys
import numpy as np
import gpuquant, gpuquant.estimator.model

samples = np.divide(np.load(sys.argv[1]), 255).reshape(-1, 3)
status = lambda key: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
for _ in range(2):
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # starts the peak anew
    gpuquant.KMeans(n_clusters=8, random_state=0, max_iter=5).fit(samples)
    print((status("VmHWM") - before) / 1e6)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counter")
def test_memory(report: Report, tmp_path: Path) -> None:
    """The first fit of a process also loads Numba and what is compiled, and the tables that the second finds there."""
    np.save(tmp_path / "pixels.npy", _image(CHINA))
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "pixels.npy")]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(4)]
    for which, peaks in zip(("first", "second"), zip(*runs[1:], strict=True), strict=True):  # the first run may compile
        what = f"{CHINA}, K = 8, max_iter 5, {which} fit of a process: peak GB above the samples"
        report(what, statistics.median(map(float, peaks)), 0.25, 0.15, "")
