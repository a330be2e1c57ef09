import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.cluster import KMeans as Reference
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from gpuquant import ArgumentError, DeviceError, KMeans, estimator_samples, level_pixels
from gpuquant.level_pixels import fold_pixels
from gpuquant.ops import cpu_dense, dense_seeding, pixel_chunks

Floats = npt.NDArray[np.float64]


def blobs(n_samples: int, n_columns: int, seed: int = 0) -> Floats:
    random = np.random.RandomState(seed)
    middles = random.normal(0, 6, (6, n_columns))
    return middles[random.randint(0, 6, n_samples)] + random.normal(0, 1, (n_samples, n_columns))


def same(ours: KMeans, theirs: Any) -> None:
    """Equal labels and iterations; centers and inertia up to rounding."""
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-9, atol=1e-12)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9, abs=1e-12)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each set of samples was recognised as 8-bit pixels."""
    found: list[bool] = []
    original = fold_pixels
    monkeypatch.setattr(estimator_samples, "FEW_SAMPLES", 0)

    def spy(samples: torch.Tensor) -> Any:
        pixels = original(samples)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(estimator_samples, "fold_pixels", spy)
    return found


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


def scaled(pixels: Pixels, scale: str) -> npt.NDArray[Any]:
    wide = pixels.astype(np.float64)
    kinds: dict[str, npt.NDArray[Any]] = {
        "uint8": pixels,
        "integers": pixels.astype(np.int64),
        "divided": np.divide(pixels, 255),
        "multiplied": wide * (1 / 255),
        "levels": wide,
    }
    return kinds[scale]


@pytest.mark.parametrize("scale", ["uint8", "integers", "divided", "multiplied", "levels"])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("n_clusters", [2, 8, 33])
def test_pixels_are_folded_and_give_what_scikit_learn_gives(
    china: Pixels, scale: str, init: str, n_clusters: int, folded: list[bool]
) -> None:
    samples = scaled(china.reshape(-1, 3), scale)
    settings: dict[str, Any] = {"init": init, "random_state": 1, "n_init": 1, "max_iter": 30}
    same(KMeans(n_clusters, **settings).fit(samples), Reference(n_clusters, **settings).fit(samples))
    assert folded == [True]


@pytest.mark.parametrize("n_columns", [1, 2])
def test_fewer_channels_are_folded_too(china: Pixels, n_columns: int, folded: list[bool]) -> None:
    samples = np.ascontiguousarray(china.reshape(-1, 3)[:, :n_columns]) / 255
    same(KMeans(7, random_state=0).fit(samples), Reference(7, n_init=1, random_state=0).fit(samples))
    assert folded == [True]


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("max_bins", [0, level_pixels.MAX_BINS])
@pytest.mark.parametrize("levels", [[255], [0, 7, 255], list(range(256))])
def test_a_fourth_channel_is_folded_too(
    china: Pixels, init: str, max_bins: int, levels: list[int], folded: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(level_pixels, "MAX_BINS", max_bins)
    colors = china.reshape(-1, 3)[:8000]
    samples = np.column_stack([colors, np.random.RandomState(0).choice(levels, len(colors))]) / 255
    weights = np.random.RandomState(1).randint(0, 3, len(samples))
    settings: dict[str, Any] = {"init": init, "random_state": 2, "n_init": 1}
    same(KMeans(9, **settings).fit(samples), Reference(9, **settings).fit(samples))
    ours = KMeans(9, **settings).fit(samples, sample_weight=weights)
    same(ours, Reference(9, **settings).fit(samples, sample_weight=weights))
    assert folded == [True, True]


@pytest.mark.parametrize("scale", ["integers", "divided", "multiplied", "levels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_are_read_on_a_device_as_on_the_host(china: Pixels, scale: str, dtype: torch.dtype) -> None:
    samples = torch.from_numpy(scaled(china.reshape(-1, 3), scale)).to(dtype)
    if dtype == torch.float32 and scale in ("divided", "multiplied"):
        samples = torch.from_numpy(china.reshape(-1, 3)).float()
        samples = samples / 255 if scale == "divided" else samples * torch.tensor(1 / 255)
    found, expected = level_pixels._levels_on_device(samples), level_pixels._levels(samples)
    assert found is not None
    assert expected is not None
    assert all(map(torch.equal, found, expected))
    np.testing.assert_array_equal(found[0].numpy(), china.reshape(-1, 3))
    for other in (samples + 1, samples - 1, torch.where(samples == samples[5], samples + 1e-6, samples)):
        levels = level_pixels._levels_on_device(other)
        assert levels is None or torch.equal(levels[1][levels[0].long()], other)


def test_almost_pixels_are_not_folded(china: Pixels, folded: list[bool]) -> None:
    levels = china.reshape(-1, 3)[:3000].astype(np.float64)
    for samples in (levels + 0.5, levels - 1, levels + 1, levels / 254, np.where(levels == 9, 9 + 1e-12, levels) / 255):
        samples[0], samples[1] = samples.min(), samples.max() + 0.25
        same(KMeans(4, random_state=0).fit(samples), Reference(4, n_init=1, random_state=0).fit(samples))
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


@pytest.mark.parametrize("few", [0, estimator_samples.FEW_SAMPLES])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    monkeypatch.setattr(estimator_samples, "FEW_SAMPLES", few)
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
        same(ours.fit(samples, sample_weight=weights), theirs.fit(samples, sample_weight=weights))
    new = random.normal(0, 1, (50, n_columns))
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-9, atol=1e-7)


def test_centers_move_to_the_means_themselves() -> None:
    """Samples on a grid, of which many are as near to one center as to another."""
    for seed in range(190, 210):
        random = np.random.RandomState(seed)
        samples = random.randint(0, 4, (60, 2)) / 3 + random.rand()
        same(KMeans(6, init=samples[:6], n_init=1).fit(samples), Reference(6, init=samples[:6], n_init=1).fit(samples))


@pytest.mark.parametrize("kind", ["list", "fortran", "csr", "float32", "read-only"])
def test_every_kind_of_input_is_taken(kind: str) -> None:
    samples = blobs(400, 4)
    given: Any = {
        "list": samples.tolist(),
        "fortran": np.asfortranarray(samples),
        "csr": csr_matrix(samples),
        "float32": samples.astype(np.float32),
        "read-only": samples.copy(),
    }[kind]
    if kind == "read-only":
        given.flags.writeable = False
    ours, theirs = KMeans(6, random_state=0).fit(given), Reference(6, n_init=1, random_state=0).fit(given)
    assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.predict(given), ours.labels_)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_tensors_come_back_as_tensors(dtype: torch.dtype, china: Pixels) -> None:
    samples = torch.from_numpy(china.reshape(-1, 3)[:5000]).to(dtype)
    model = KMeans(5, random_state=0).fit(samples)
    assert isinstance(model.labels_, torch.Tensor)
    assert model.labels_.dtype == torch.int32
    assert model.cluster_centers_.dtype == (torch.float32 if dtype == torch.float32 else torch.float64)
    reference = Reference(5, n_init=1, random_state=0).fit(samples.double().numpy())
    np.testing.assert_array_equal(model.labels_.numpy(), reference.labels_)
    assert torch.equal(model.predict(samples), model.labels_)
    distances = model.transform(samples)
    assert torch.equal(distances.argmin(dim=1).int(), model.labels_)
    assert model.score(samples) == pytest.approx(-model.inertia_, rel=1e-6)


def test_the_callers_samples_stay_as_they_are(china: Pixels) -> None:
    for samples in (blobs(300, 3), np.divide(china.reshape(-1, 3)[:2000], 255)):
        before, init = samples.copy(), samples[:4].copy()
        kept = init.copy()
        KMeans(4, init=init, n_init=1, copy_x=False).fit(samples)
        np.testing.assert_array_equal(samples, before)
        np.testing.assert_array_equal(init, kept)


@pytest.mark.parametrize("pixels", [False, True])
def test_bits_do_not_move(
    pixels: bool,
    china: Pixels,
    set_threads: Callable[[int], None],
    folded: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In several tiles, chunks and threads."""
    monkeypatch.setattr(cpu_dense, "TILE_NUMBERS", 1 << 14)
    monkeypatch.setattr(pixel_chunks, "CHUNK", 1 << 12)
    monkeypatch.setattr(dense_seeding, "ROWS", 1 << 10)
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


def test_levels_are_folded_after_rows_that_fit_another_scale(china: Pixels) -> None:
    """Black and white come first, which are levels as they are, too."""
    samples = np.concatenate([np.repeat([[0.0], [1.0]], 40_000, axis=0).repeat(3, axis=1), china.reshape(-1, 3) / 255])
    found = fold_pixels(torch.from_numpy(samples))
    assert found is not None
    np.testing.assert_array_equal(found.rows().numpy()[found.ranks.numpy()], samples)


def test_bytes_are_levels_and_stay_bytes(folded: list[bool], china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = china.reshape(-1, 3)
    monkeypatch.setattr(level_pixels, "_levels", lambda _: pytest.fail("bytes need no reading"))
    for samples in (pixels, torch.from_numpy(pixels)):
        ours = KMeans(8, random_state=0).fit(samples)
        same_labels = Reference(8, random_state=0, n_init=1).fit(pixels.astype(np.float64)).labels_
        np.testing.assert_array_equal(np.asarray(ours.labels_), same_labels)
        assert ours.cluster_centers_.dtype in (np.float64, torch.float64)
    assert folded == [True, True]


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
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2).fit(np.full((3, 2), np.nan))
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


def test_tensors_that_cannot_be_clustered_say_why() -> None:
    samples = torch.from_numpy(blobs(20, 2))
    for other in (samples.to_sparse(), samples.to("meta"), samples.to(torch.complex128)):
        with pytest.raises(ValueError, match="X must be a dense real tensor with values, got"):
            KMeans(2).fit(other)
    for other in (samples[0], samples[:0]):
        with pytest.raises(ValueError, match=r"X must be \[n_samples, n_features\] and not empty, got"):
            KMeans(2).fit(other)


def test_tensors_of_any_kind_are_clustered_and_weigh() -> None:
    samples = torch.from_numpy(blobs(300, 3).round())
    weights = torch.arange(300) % 4
    expected = KMeans(3, init=samples[:3].numpy(), n_init=1).fit(samples.numpy(), sample_weight=weights.numpy())
    for other in (samples.bfloat16(), torch._neg_view(-samples), samples.requires_grad_()):
        model = KMeans(3, init=samples[:3].detach().bfloat16(), n_init=1).fit(other, sample_weight=weights.bfloat16())
        np.testing.assert_array_equal(model.labels_.numpy(), expected.labels_)


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
