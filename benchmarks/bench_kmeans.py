"""k-means itself beside other implementations, all from the same start, and many problems at once.

The points are all pixels of a photograph, float64 for what is like scikit-learn and float32 for the others, and the
labels are compared with those of scikit-learn's KMeans. OpenCV is not here: it starts from labels only.

Run: scripts/setup.sh bench, then pytest benchmarks/bench_kmeans.py [--sizes 1MP,13MP]
"""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import Keep, Pixels, Report, sized_photo
from kmeans_peers import (
    N_CLUSTERS_EACH,
    SCIKIT_LEARN,
    implementations,
    in_turn,
    one_by_gpuquant,
    one_by_scikit_learn,
    together,
)

from gpuquant.bench.measuring import Measurement, measure_apart, stored
from gpuquant.bench.peers import Quantizer

LARGEST = 13.7e6  # pixels, up to which so many implementations take minutes


@pytest.mark.parametrize("n_clusters", [8, 64])
def test_from_the_same_start(keep: Keep, tmp_path: Path, device: str, size: str, n_clusters: int, full: bool) -> None:
    photo = sized_photo(size)
    if photo.size > 3 * LARGEST and not full:
        pytest.skip("more than 13.7 megapixels: --full")
    found: list[Measurement] = []
    expected: Pixels | None = None
    with stored(photo) as file:
        for implementation in implementations(device):
            labels = tmp_path / "labels.npy"
            measured = measure_apart(
                implementation, file, n_clusters, rounds=5, most_seconds=5, limit=60, labels_file=labels
            )
            if measured.seconds:
                given = np.load(labels)
                expected = given if implementation.name == SCIKIT_LEARN else expected
                if expected is not None:
                    measured = dataclasses.replace(measured, agreement=float((given == expected).mean()))
            found.append(measured)
    theirs, *ours = found[:3]
    assert all(one.seconds for one in ours), [one.problem for one in ours]
    if theirs.seconds:
        assert all(one.mse <= 1.001 * theirs.mse for one in ours)
        assert ours[0].agreement == 1
    keep(found, device, kind="same start", photo=size, n_colors=n_clusters)


@pytest.mark.parametrize("n_tiles", [1, 4, 16, 64, 256])
def test_many_problems(keep: Keep, report: Report, device: str, n_tiles: int) -> None:
    """A photo cut into so many problems of as many pixels, 8 clusters each: what does company save?"""
    photo = sized_photo("1MP")
    photo = photo[: len(photo) // 256 * 256]
    where = "" if device == "cpu" else f", {device}"
    ways = [
        Quantizer(f"gpuquant.kmeans, one batch{where}", "gpuquant", partial(together, device, n_tiles)),
        Quantizer(
            f"gpuquant.kmeans, in turn{where}", "gpuquant", partial(in_turn, partial(one_by_gpuquant, device), n_tiles)
        ),
        Quantizer("scikit-learn, in turn", "scikit-learn", partial(in_turn, one_by_scikit_learn, n_tiles)),
    ]
    with stored(photo) as file:
        found = [measure_apart(way, file, N_CLUSTERS_EACH * n_tiles, rounds=5, most_seconds=4) for way in ways]
    assert [one.problem for one in found] == [""] * 3
    assert found[0].mse == found[1].mse
    assert found[0].mse <= found[2].mse * 1.1  # other starts
    if n_tiles == 256 and device == "cpu":
        beside = f"ours {found[0].median:.3f} s, scikit-learn {found[2].median:.3f} s"
        what = (
            f"{n_tiles} problems of {len(photo) * len(photo[0]) // n_tiles} points, K = {N_CLUSTERS_EACH}, as a batch"
        )
        report(f"{what}: time / scikit-learn's in turn", found[0].median / found[2].median, 0.5, 0.2, beside)
    keep(found, device, kind="many problems", photo="1MP", n_colors=N_CLUSTERS_EACH, n_problems=n_tiles)
