"""Draws of samples against scikit-learn's, in both precisions; and what float32 has equal and what not."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import __version__ as sklearn_version
from sklearn.cluster import KMeans as Reference
from sklearn.cluster import kmeans_plusplus
from sklearn.utils.fixes import parse_version
from threadpoolctl import threadpool_limits

from gpuquant import KMeans
from gpuquant.estimator import sample_draws
from gpuquant.estimator.sample_draws import plus_plus_samples

Array = npt.NDArray[Any]

adds_up_singles = parse_version(sklearn_version) >= parse_version("1.8")
needs_single_sums = pytest.mark.skipif(not adds_up_singles, reason="scikit-learn adds up float32 in double precision")


def check_draws(points: Array, ranks: npt.NDArray[np.int32] | None, weights: Array, n_clusters: int, seed: int) -> None:
    samples = points if ranks is None else points[ranks]
    random = np.random.RandomState(seed)
    expected, _ = kmeans_plusplus(samples, n_clusters, sample_weight=weights, random_state=random)
    ours = np.random.RandomState(seed)
    found = plus_plus_samples(points, weights, n_clusters, ours, ranks)
    np.testing.assert_array_equal(points[found], expected)
    assert ours.uniform() == random.uniform()


@settings(max_examples=40)
@given(
    n_samples=st.integers(1, 3000),
    n_columns=st.integers(1, 9),
    n_clusters=st.integers(1, 12),
    dtype=st.sampled_from([np.float64, np.float32][: 1 + adds_up_singles]),
    is_folded=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_draws_are_those_of_scikit_learn(
    n_samples: int, n_columns: int, n_clusters: int, dtype: Any, is_folded: bool, weighted: bool, seed: int
) -> None:
    random = np.random.RandomState(seed)
    n_clusters = min(n_clusters, n_samples)
    n_points = random.randint(1, n_samples + 1) if is_folded else n_samples
    points = random.normal(size=(n_points, n_columns)).astype(dtype)
    ranks = random.randint(0, n_points, n_samples).astype(np.int32) if is_folded else None
    weights = random.randint(0, 3, n_samples) * random.uniform(size=n_samples) if weighted else np.ones(n_samples)
    weights[random.randint(n_samples)] += 1
    check_draws(points, ranks, weights.astype(dtype), n_clusters, seed)


@needs_single_sums
@pytest.mark.parametrize("n_threads", [1, 3], indirect=True)
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_clusters", [2, 30])
def test_single_precision_rounds_as_in_scikit_learn(
    n_clusters: int, weighted: bool, is_folded: bool, n_threads: int
) -> None:
    """Running sums of so many values are far from the true ones."""
    random = np.random.RandomState(n_clusters)
    n_samples = 100_003
    points = random.normal(size=(4999 if is_folded else n_samples, 3)).astype(np.float32)
    ranks = np.sort(random.randint(0, 4999, n_samples)).astype(np.int32) if is_folded else None
    weights = random.uniform(size=n_samples).astype(np.float32) if weighted else np.ones(n_samples, np.float32)
    check_draws(points, ranks, weights, n_clusters, 1)


def test_all_samples_on_one_place() -> None:
    points = np.zeros((1, 3), np.float32)
    check_draws(points, np.zeros(500, np.int32), np.ones(500, np.float32), 3, 0)
    check_draws(np.repeat(points, 5, axis=0), None, np.ones(5, np.float32), 5, 0)


@needs_single_sums
@pytest.mark.parametrize("at_once", [1, 300, 1 << 20])
def test_distances_found_at_once_do_not_matter(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_draws, "AT_ONCE", at_once)
    check_draws(blobs(1501, 3).astype(np.float32), None, np.ones(1501, np.float32), 7, 2)


@needs_single_sums
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("kind", ["pixels", "levels", "blobs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_float32_samples_start_and_end_as_in_scikit_learn(
    china_large: Pixels, kind: str, init: Any, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The starts are the same; scikit-learn's sums of clusters are rounded so much that few labels are not."""
    levels = china_large.reshape(-1, 3).astype(np.float32)
    samples: Array = {
        "pixels": levels / np.float32(255),
        "levels": levels,
        "blobs": blobs(60_000, 5).astype(np.float32),
    }[kind]
    weights = np.random.RandomState(3).uniform(0, 2, len(samples)) if weighted else None
    starts: list[Array] = []

    def spied(kind: Any, name: str) -> None:
        original = getattr(kind, name)

        def spy(self: Any, *arguments: Any, **options: Any) -> Any:
            found = original(self, *arguments, **options)
            starts.append(np.asarray(found).copy())  # scikit-learn writes over its own
            return found

        monkeypatch.setattr(kind, name, spy)

    spied(KMeans, "_start")
    spied(Reference, "_init_centroids")
    common: dict[str, Any] = {"init": init, "n_init": 1, "max_iter": 5, "random_state": 4}
    ours = KMeans(8, **common).fit(samples, sample_weight=weights)
    theirs = Reference(8, **common).fit(samples, sample_weight=weights)
    centered = starts[1] + samples.mean(axis=0)
    np.testing.assert_allclose(starts[0], centered, rtol=1e-5, atol=1e-6 * float(samples.max()))
    assert (ours.labels_ != theirs.labels_).mean() < 0.01


def test_threads_of_the_blas_do_not_matter(china_large: Pixels) -> None:
    samples = torch.tensor(china_large.reshape(-1, 3)) / 255
    labels = []
    for n_threads in (1, 2, 4):
        with threadpool_limits(n_threads, "blas"):
            labels.append(KMeans(8, random_state=0, max_iter=3).fit(samples).labels_)
    assert torch.equal(labels[0], labels[1])
    assert torch.equal(labels[0], labels[2])
