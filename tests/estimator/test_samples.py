"""Samples of the estimator: every kind of them, and pixels folded to colors."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, blobs, same
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans as Reference

from gpuquant import KMeans, ops
from gpuquant.estimator import level_pixels
from gpuquant.estimator import samples as samples_module
from gpuquant.estimator.level_pixels import fold_pixels


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


@pytest.mark.parametrize(("n_samples", "n_columns", "is_folded"), [(1024, 3, False), (1025, 3, True), (9999, 2, False)])
def test_so_many_samples_are_folded(n_samples: int, n_columns: int, is_folded: bool) -> None:
    """Of two columns many pixels are equally far from each other, and rounding chooses among them."""
    random = np.random.RandomState(2)
    samples = random.randint(0, 4, (n_samples, n_columns)).astype(float)
    assert (fold_pixels(torch.from_numpy(samples)) is not None) == is_folded
    same(KMeans(9, random_state=0).fit(samples), Reference(9, n_init=1, random_state=0).fit(samples))


def test_almost_pixels_are_not_folded(china: Pixels, folded: list[bool]) -> None:
    levels = china.reshape(-1, 3)[:3000].astype(np.float64)
    for samples in (levels + 0.5, levels - 1, levels + 1, levels / 254, np.where(levels == 9, 9 + 1e-12, levels) / 255):
        samples[0], samples[1] = samples.min(), samples.max() + 0.25
        same(KMeans(4, random_state=0).fit(samples), Reference(4, n_init=1, random_state=0).fit(samples))
    assert not any(folded)


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


@pytest.mark.parametrize("n_threads", [1, 2], indirect=True)
def test_the_mean_is_found_once_and_its_errors_are_told(
    n_threads: int, folded: list[bool], china: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, found = np.divide(china.reshape(-1, 3), 255), []

    original = ops.column_means

    def column_means(given: torch.Tensor) -> torch.Tensor:
        found.append(threading.current_thread() is threading.main_thread())
        return original(given)

    monkeypatch.setattr(samples_module, "MANY", 0)
    monkeypatch.setattr(ops, "column_means", column_means)
    KMeans(4, n_init=3, random_state=0).fit(samples)
    assert folded == [True]
    assert found == [n_threads == 1]
    monkeypatch.setattr(ops, "column_means", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        KMeans(4, random_state=0).fit(samples)


def test_levels_are_folded_after_rows_that_fit_another_scale(china: Pixels) -> None:
    """Black and white come first, which are levels as they are, too."""
    samples = np.concatenate([np.repeat([[0.0], [1.0]], 40_000, axis=0).repeat(3, axis=1), china.reshape(-1, 3) / 255])
    found = fold_pixels(torch.from_numpy(samples))
    assert found is not None
    np.testing.assert_array_equal(found.rows().numpy()[found.ranks.numpy()], samples)


def test_bytes_are_levels_and_stay_bytes(folded: list[bool], china: Pixels) -> None:
    pixels = china.reshape(-1, 3)
    for samples in (pixels, torch.from_numpy(pixels)):
        ours = KMeans(8, random_state=0).fit(samples)
        same_labels = Reference(8, random_state=0, n_init=1).fit(pixels.astype(np.float64)).labels_
        np.testing.assert_array_equal(np.asarray(ours.labels_), same_labels)
        assert ours.cluster_centers_.dtype in (np.float64, torch.float64)
    assert folded == [True, True]


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
