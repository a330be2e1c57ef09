import pickle
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.cluster import KMeans as Reference
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpuquant import DeviceError, KMeans, estimator, estimator_fit, level_pixels
from gpuquant.level_pixels import fold_pixels

SHAPES = [(500, 1, 3), (1500, 2, 8), (900, 7, 20), (60, 30, 5)]
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
    monkeypatch.setattr(estimator_fit, "FEW_SAMPLES", 0)

    def spy(samples: torch.Tensor) -> Any:
        pixels = original(samples)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(estimator, "fold_pixels", spy)
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
        assert level_pixels._levels_on_device(other) is None or bool((other == other.round()).all())


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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_samples=st.integers(20, 400),
    n_columns=st.integers(1, 6),
    n_clusters=st.integers(1, 20),
    pixels=st.booleans(),
)
def test_random_problems_give_what_scikit_learn_gives(
    seed: int, n_samples: int, n_columns: int, n_clusters: int, pixels: bool
) -> None:
    random = np.random.RandomState(seed)
    samples = random.normal(0, 1, (n_samples, n_columns))
    if pixels:
        samples = (samples * 40 + 128).round().clip(0, 255) / 255
    ours, theirs = KMeans(n_clusters, random_state=seed), Reference(n_clusters, n_init=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # duplicates among the pixels
        same(ours.fit(samples), theirs.fit(samples))
    new = random.normal(0, 1, (50, n_columns))
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), rtol=1e-9)


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
def test_bits_do_not_move(pixels: bool, china: Pixels, n_threads: int, folded: list[bool]) -> None:
    samples = np.divide(china.reshape(-1, 3), 255) if pixels else blobs(4000, 5)
    expected = KMeans(12, random_state=0).fit(samples)
    for chunk_size in (1, 1000, None):
        again = KMeans(12, random_state=0, chunk_size=chunk_size).fit(samples)
        np.testing.assert_array_equal(again.cluster_centers_, expected.cluster_centers_)
        assert again.inertia_ == expected.inertia_
    torch.set_num_threads(2)
    np.testing.assert_array_equal(KMeans(12, random_state=0).fit(samples).cluster_centers_, expected.cluster_centers_)
    torch.set_num_threads(n_threads)


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
    with pytest.raises(ValueError, match="chunk_size"):
        KMeans(2, chunk_size=0).fit(samples)
    with pytest.raises(NotFittedError):
        KMeans(2).predict(samples)
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        KMeans(3, random_state=0).fit(np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0))
    with pytest.warns(RuntimeWarning, match="Explicit initial center"):
        KMeans(2, init=samples[:2], n_init=3).fit(samples)
