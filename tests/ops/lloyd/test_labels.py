"""Labels of samples alone, as `KMeans.predict` gives them: against scikit-learn's, and against float64 NumPy."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Reference

from gpuquant import KMeans, ops
from gpuquant.ops import compiled
from gpuquant.ops.lloyd import cpu_labels

Array = npt.NDArray[Any]
SCALES = {"levels": 1.0, "shares": 255.0, "huge": 1e-200, "tiny": 1e200, "beyond single precision": 1e-36}


@pytest.fixture(params=["compiled", "reference"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled loops in small parts, or plain torch."""
    if request.param == "reference":
        monkeypatch.setattr(compiled, "runs_for", lambda _: False)
    elif not compiled.has_numba():
        pytest.skip("Numba cannot be imported")
    else:
        monkeypatch.setattr(cpu_labels, "ROWS", 1000)
        monkeypatch.setattr(cpu_labels, "SHARED", 0)


def fitted(kind: Any, centers: Array) -> Any:
    """A model with these centers."""
    model = kind(len(centers), init=centers, n_init=1, max_iter=1).fit(centers)
    model.cluster_centers_ = centers
    return model


def predicted(samples: Array, centers: Array) -> tuple[Array, Array]:
    """The labels, and scikit-learn's."""
    return fitted(KMeans, centers).predict(samples), fitted(Reference, centers).predict(samples)


@pytest.mark.parametrize("n_clusters", [1, 2, 7, 8, 32, 33])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4])
@pytest.mark.parametrize("n_samples", [1, 255, 256, 257, 5003])
@pytest.mark.usefixtures("implementation")
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_labels_are_those_of_scikit_learn(n_samples: int, n_columns: int, n_clusters: int) -> None:
    random = np.random.RandomState(n_samples + n_columns)
    samples, centers = random.normal(3, 1, (n_samples, n_columns)), random.normal(3, 1, (n_clusters, n_columns))
    np.testing.assert_array_equal(*predicted(samples, centers))


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("step", [1, 2, 50])
@pytest.mark.usefixtures("implementation")
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:Number of distinct clusters")
def test_ties_are_broken_as_by_scikit_learn(step: int, scale: str, china: Pixels) -> None:
    """Centers and pixels are levels, so that many pixels are as near to one center as to another."""
    pixels = (china.reshape(-1, 3)[:9000] // step * step) / SCALES[scale]
    centers = np.random.RandomState(step).permutation(pixels)[:9]
    np.testing.assert_array_equal(*predicted(pixels, centers))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.usefixtures("implementation")
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_the_first_of_equal_centers_wins(dtype: Any, china: Pixels) -> None:
    samples = china.reshape(-1, 3).astype(dtype)
    centers = samples[[0, 9000, 0, 9000, 20_000, 0]].astype(np.float32 if dtype == np.float32 else np.float64)
    labels = fitted(KMeans, centers).predict(samples)
    apart = np.square(samples.astype(np.int64)[:, None] - centers.astype(np.int64)).sum(axis=2)
    np.testing.assert_array_equal(labels, apart.argmin(axis=1))
    assert set(labels) == {0, 1, 4}


@pytest.mark.parametrize("place", [0, 2000, 4999])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.usefixtures("implementation")
def test_samples_that_are_not_finite_are_refused(broken: float, place: int) -> None:
    samples = np.random.RandomState(0).normal(0, 1, (5000, 3))
    model = fitted(KMeans, samples[:5])
    samples[place, 1] = broken
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.predict(samples)


@needs_numba
def test_no_thread_forgets_what_another_found(
    set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is not finite ends while another, which is, is still worked on."""
    monkeypatch.setattr(cpu_labels, "SHARED", 0)
    monkeypatch.setattr(cpu_labels, "ROWS", 500)
    original, found_broken = cpu_labels._settle, threading.Event()

    def late_if_finite(*given: Any) -> bool:
        is_finite = original(*given)
        if is_finite:
            assert found_broken.wait(60)
            time.sleep(0.05)  # until the other thread has noted it
        else:
            found_broken.set()
        return is_finite

    monkeypatch.setattr(cpu_labels, "_settle", late_if_finite)
    set_threads(2)
    samples = torch.full((1000, 2), 0.5, dtype=torch.float64)
    samples[700, 1] = torch.nan
    centers = torch.tensor([[0.25, 0.5], [0.75, 0.5]], dtype=torch.float64)  # each sample is as near to both
    assert ops.label_samples(samples, centers) is None


@needs_numba
def test_bits_depend_on_no_threads_and_parts(
    china: Pixels, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_labels, "SHARED", 0)
    samples = torch.from_numpy(china.reshape(-1, 3) / 255)
    found = []
    for n_threads, n_rows in ((1, 1 << 16), (2, 1000), (3, 257), (1, 1)):
        set_threads(n_threads)
        monkeypatch.setattr(cpu_labels, "ROWS", n_rows)
        labels = ops.label_samples(samples[:4000], samples[:12])
        assert labels is not None
        found.append(labels.tolist())
    assert all(some == found[0] for some in found)


@needs_numba
def test_only_what_rounding_decides_is_scored_again(china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[int] = []
    original = cpu_labels._settle

    def spy(numbers: Array, index: Array, *rest: Array) -> bool:
        settled.extend(index.tolist())
        return original(numbers, index, *rest)

    monkeypatch.setattr(cpu_labels, "_settle", spy)
    samples = torch.from_numpy(china.reshape(-1, 3) / 255)
    centers = torch.from_numpy(np.random.RandomState(0).uniform(0, 1, (16, 3)))
    assert ops.label_samples(samples, torch.cat([centers, centers.flip(0)])) is not None
    assert not settled
    pair = torch.tensor([[0.5, 0.5, 0.25], [0.5, 0.5, 0.75]], dtype=torch.float64)
    middle = samples.clone()
    middle[5:9, 2] = 0.5
    assert ops.label_samples(middle, pair) is not None
    assert settled == [5, 6, 7, 8]


@needs_numba
def test_where_no_loop_labels_samples_alone_none_does() -> None:
    few = torch.zeros(9, 3, dtype=torch.float64)
    assert ops.label_samples(few, torch.zeros(cpu_labels.MAX_CLUSTERS + 1, 3)) is None
    assert ops.label_samples(torch.zeros(9, 4), torch.zeros(2, 4)) is None
    assert ops.label_samples(few / 0, few) is None
    empty = ops.label_samples(few[:0], few)
    assert empty is not None
    assert empty.tolist() == []


@given(
    st.integers(1, 1200), st.integers(1, 3), st.integers(1, 12), st.sampled_from([1, 3, 255]), st.integers(0, 2**32 - 1)
)
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_labels_on_a_grid_are_those_of_scikit_learn(
    n_samples: int, n_columns: int, n_clusters: int, n_levels: int, seed: int
) -> None:
    random = np.random.RandomState(seed)
    offset, unit = random.uniform(-1, 1), random.choice([1.0, 1 / 255, 1 / 3])
    samples, centers = (
        random.randint(0, n_levels + 1, (number, n_columns)) * unit + offset for number in (n_samples, n_clusters)
    )
    np.testing.assert_array_equal(*predicted(samples, centers))
