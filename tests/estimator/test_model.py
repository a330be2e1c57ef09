import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, blobs, same
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.cluster import KMeans as Reference
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from gpuquant import ArgumentError, DeviceError, KMeans
from gpuquant.estimator import level_pixels
from gpuquant.ops.lloyd import cpu_dense_runs

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize(
    ("n_samples", "n_columns", "n_clusters"), [(500, 1, 3), (1500, 2, 8), (900, 7, 20), (60, 30, 5)]
)
def test_blobs_give_what_scikit_learn_gives(
    init: str, n_samples: int, n_columns: int, n_clusters: int, folded: list[bool]
) -> None:
    samples = blobs(n_samples, n_columns)
    for seed in range(3):
        settings: dict[str, Any] = {"init": init, "random_state": seed, "n_init": 2}
        same(KMeans(n_clusters, **settings).fit(samples), Reference(n_clusters, **settings).fit(samples))
    assert not any(folded)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_weights_count(china: Pixels, pixels: bool, init: str, folded: list[bool]) -> None:
    samples = np.divide(china.reshape(-1, 3)[:6000], 255) if pixels else blobs(3000, 3)
    weights = np.random.RandomState(5).uniform(0, 3, len(samples)) * (np.arange(len(samples)) % 7 > 0)
    ours = KMeans(9, init=init, n_init=1, random_state=3).fit(samples, sample_weight=weights)
    theirs = Reference(9, init=init, n_init=1, random_state=3).fit(samples, sample_weight=weights)
    same(ours, theirs)
    assert ours.score(samples, sample_weight=weights) == pytest.approx(theirs.score(samples, sample_weight=weights))


@pytest.mark.parametrize("pixels", [False, True])
def test_emptied_clusters_take_the_samples_that_scikit_learn_gives_them(
    china: Pixels, pixels: bool, folded: list[bool]
) -> None:
    samples = np.divide(china.reshape(-1, 3)[::5], 255) if pixels else blobs(500, 3)
    init = samples[:8].copy()
    init[5:] = 50 + np.arange(3)[:, None]  # nothing is near
    same(KMeans(8, init=init, n_init=1).fit(samples), Reference(8, init=init, n_init=1).fit(samples))


@pytest.mark.parametrize("few", [0, level_pixels.FEW_SAMPLES])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(  # emptied clusters take samples that are equally far
    seed=231, n_samples=8253, n_columns=5, n_clusters=13, kind="grid", init="random", weighted=False
)
@example(  # an emptied cluster takes a sample that was alone in its cluster
    seed=292897, n_samples=100, n_columns=1, n_clusters=9, kind="normal", init="far", weighted=False
)
@example(  # one sample more than a multiple of 256
    seed=279521, n_samples=10_753, n_columns=6, n_clusters=19, kind="grid", init="random", weighted=True
)
@given(
    seed=st.integers(0, 10**6),
    n_samples=st.integers(20, 400) | st.integers(8000, 12_000),
    n_columns=st.integers(1, 6),
    n_clusters=st.integers(1, 20),
    kind=st.sampled_from(["normal", "pixels", "grid"]),
    init=st.sampled_from(["k-means++", "random", "far"]),
    weighted=st.booleans(),
)
def test_random_problems_give_what_scikit_learn_gives(
    few: int,
    seed: int,
    n_samples: int,
    n_columns: int,
    n_clusters: int,
    kind: str,
    init: str,
    weighted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(level_pixels, "FEW_SAMPLES", few)
    if few == 0:
        monkeypatch.setattr(level_pixels, "FEW_WITH_TIES", 0)
    random = np.random.RandomState(seed)
    n_clusters = min(n_clusters, n_samples // 4)  # with a cluster for each sample only rounding is left to draw from
    samples = random.normal(0, 1, (n_samples, n_columns))
    if kind == "pixels":
        n_columns = max(2, min(4, n_columns))  # of equal distances in one column either may come first
        samples = (random.normal(0, 1, (n_samples, n_columns)) * 40 + 128).round().clip(0, 255) / 255
    elif kind == "grid":  # ties everywhere, but more different samples than clusters
        n_columns, init = max(3, n_columns), "k-means++" if init == "far" else init
        samples = random.randint(0, 4, (n_samples, n_columns)) / 3 + random.uniform()
    weights = random.uniform(0.1, 2, n_samples) if weighted else None
    if weights is not None and init == "k-means++":  # random draws and emptied clusters need samples that weigh
        weights *= random.uniform(size=n_samples) < 0.9
    settings: dict[str, Any] = {"init": init, "random_state": seed, "n_init": 1}
    if init == "far":
        settings["init"] = samples[:n_clusters] + 9 * (np.arange(n_clusters) % 3 == 2)[:, None]
    ours, theirs = KMeans(n_clusters, **settings), Reference(n_clusters, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # duplicates among the samples
        found = []
        for n_threads in (2, 1):  # scikit-learn adds thread by thread, and breaks ties by that
            with threadpool_limits(n_threads):
                found.append(theirs.fit(samples, sample_weight=weights).labels_)
        assume(np.array_equal(*found))
        same(ours.fit(samples, sample_weight=weights), theirs)
    new = random.normal(0, 1, (50, n_columns))
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-9, atol=1e-7)


def test_centers_move_to_the_means_themselves() -> None:
    """Samples on a grid, of which many are as near to one center as to another."""
    for seed in range(190, 210):
        random = np.random.RandomState(seed)
        samples = random.randint(0, 4, (60, 2)) / 3 + random.rand()
        same(KMeans(6, init=samples[:6], n_init=1).fit(samples), Reference(6, init=samples[:6], n_init=1).fit(samples))


@pytest.mark.parametrize("pixels", [False, True])
def test_bits_do_not_move(
    pixels: bool,
    china: Pixels,
    set_threads: Callable[[int], None],
    folded: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The samples take several tiles, chunks and threads."""
    monkeypatch.setattr(cpu_dense_runs, "TILE", 1 << 11)
    samples = np.divide(china.reshape(-1, 3), 255) if pixels else blobs(20_000, 5)
    weights = np.random.RandomState(0).uniform(0, 1, len(samples))

    def bits(chunk_size: int | None) -> list[Any]:
        model = KMeans(12, random_state=0, chunk_size=chunk_size).fit(samples, sample_weight=weights)
        return [model.cluster_centers_.tobytes(), model.labels_.tobytes(), model.inertia_, model.n_iter_]

    set_threads(1)
    expected = bits(None)
    for n_threads in (1, 2, 3, 4):
        set_threads(n_threads)
        for chunk_size in (1, 1000, None):
            assert bits(chunk_size) == expected


def test_fits_from_several_threads_leave_the_blas_as_it_was() -> None:
    samples = blobs(9000, 4)
    limits = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    expected = KMeans(5, random_state=0).fit(samples).labels_
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: KMeans(5, random_state=0).fit(samples).labels_, range(8)))
    assert all(np.array_equal(labels, expected) for labels in fits)
    assert [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"] == limits


@pytest.mark.parametrize("pixels", [False, True])
def test_fits_in_inference_mode(pixels: bool, china: Pixels, set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    samples = np.repeat(china.reshape(-1, 3), 2, axis=0) / 255 if pixels else blobs(40_000, 3)
    with torch.inference_mode():
        model = KMeans(4, random_state=0, max_iter=3).fit(samples)
    np.testing.assert_array_equal(model.labels_, KMeans(4, random_state=0, max_iter=3).fit(samples).labels_)


def test_works_where_estimators_work() -> None:
    samples = blobs(200, 3)
    model = clone(KMeans(4, random_state=0, device="cpu"))
    piped = make_pipeline(StandardScaler(), model).fit(samples)
    assert piped.predict(samples).shape == (200,)
    search = GridSearchCV(KMeans(random_state=0), {"n_clusters": [2, 6]}, cv=3).fit(samples)
    assert search.best_params_ == {"n_clusters": 6}
    named = KMeans(3, random_state=0).set_output(transform="default").fit(samples)
    assert list(named.get_feature_names_out()) == ["kmeans0", "kmeans1", "kmeans2"]
    loaded = pickle.loads(pickle.dumps(KMeans(3, random_state=0).fit(torch.from_numpy(samples))))
    assert loaded.predict(torch.from_numpy(samples)).shape == (200,)


def test_elkan_means_the_same() -> None:
    samples = blobs(500, 3)
    ours = KMeans(5, algorithm="elkan", random_state=0).fit(samples)
    same(ours, Reference(5, algorithm="elkan", n_init=1, random_state=0).fit(samples))


def test_verbose_names_the_path(china: Pixels, folded: list[bool], capsys: pytest.CaptureFixture[str]) -> None:
    samples = np.divide(china.reshape(-1, 3)[:4000], 255)
    KMeans(3, random_state=0, verbose=1).fit(samples)
    printed = capsys.readouterr().out
    assert f"{len(np.unique(samples, axis=0))} rows for 4000 8-bit pixels" in printed
    assert "Iteration 0, inertia" in printed
    assert "Converged at iteration" in printed


def test_a_missing_device_is_an_error_that_names_the_way_out() -> None:
    model = KMeans(2).fit(blobs(20, 2))
    if not torch.cuda.is_available():
        model.set_params(device="cuda")
        with pytest.raises(DeviceError, match=r"set_params\(device=\"cpu\"\)"):
            model.predict(blobs(20, 2))
    with pytest.raises(DeviceError, match="mps"):
        KMeans(2, device="mps").fit(blobs(20, 2))


def test_bad_input_gets_scikit_learns_messages() -> None:
    samples = blobs(20, 2)
    for n_samples, n_columns in ((3, 2), (40_000, 3), (40_000, 6)):
        for value, message in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")):
            broken = blobs(n_samples, n_columns)
            broken[n_samples // 2, 1] = value
            for other in (broken, broken.astype(np.float32), csr_matrix(broken), np.rint(broken)):
                with pytest.raises(ValueError, match=message):
                    KMeans(2).fit(other)
            with pytest.raises(ValueError, match=message):
                KMeans(2).fit(blobs(20, n_columns)).predict(broken)
    for value in (np.nan, np.inf):
        for dtype in (np.float32, np.float64):
            pixels = (np.random.RandomState(0).randint(0, 256, (40_000, 3)) / 255).astype(dtype)
            model = KMeans(2, random_state=0).fit(pixels)
            pixels[-1, 2] = value
            for call in (KMeans(2).fit, model.predict, model.score, model.transform):
                with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity"):
                    call(pixels)
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2).fit(torch.full((3, 2), torch.nan))
    with pytest.raises(ValueError, match="n_samples=20 should be >= n_clusters=21"):
        KMeans(21).fit(samples)
    with pytest.raises(ValueError, match="features"):
        KMeans(2).fit(samples).predict(blobs(20, 3))
    with pytest.raises(ValueError, match="features"):
        KMeans(2).fit(samples).predict(torch.zeros(20, 3))
    with pytest.raises(ValueError, match="does not match"):
        KMeans(2, init=np.zeros((3, 2))).fit(samples)
    fitted = KMeans(2).fit(samples)
    for chunk_size in (0, True, "a"):
        with pytest.raises(ArgumentError, match=r"chunk_size=.* must be an integer of at least 1"):
            KMeans(2).set_params(chunk_size=chunk_size).fit(samples)
        with pytest.raises(ArgumentError, match="chunk_size"):
            fitted.set_params(chunk_size=chunk_size).predict(samples)
    for n_samples in (20, 40_000):
        weights = np.where(np.arange(n_samples) == 5, -1.0, 1.0)
        with pytest.raises(ValueError, match="probabilities are not non-negative"):
            KMeans(2, random_state=0).fit(blobs(n_samples, 2), sample_weight=weights)
    with pytest.raises(NotFittedError):
        KMeans(2).predict(samples)
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        KMeans(3, random_state=0).fit(np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0))
    with pytest.warns(RuntimeWarning, match="Explicit initial center"):
        KMeans(2, init=samples[:2], n_init=3).fit(samples)


def test_transform_is_exact_far_from_the_origin_and_knows_its_device() -> None:
    samples = (blobs(300, 3) + 5000).astype(np.float32)
    model = KMeans(4, random_state=0).fit(torch.from_numpy(samples))
    apart = samples[:, None].astype(np.float64) - model.cluster_centers_.double().numpy()
    distances = model.transform(torch.from_numpy(samples))
    assert distances.dtype == torch.float32
    np.testing.assert_allclose(distances.numpy(), np.sqrt(np.square(apart).sum(axis=2)), rtol=1e-4)
    if not torch.cuda.is_available():
        for other in (samples, torch.from_numpy(samples)):
            with pytest.raises(DeviceError, match=r"set_params\(device=\"cpu\"\)"):
                model.set_params(device="cuda").transform(other)
