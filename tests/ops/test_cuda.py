"""Triton's kernels in its interpreter (on a CUDA device where there is one), against NumPy and the CPU path."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.cluster import KMeans as Reference

pytest.importorskip("triton", reason="Triton is made for Linux")

from kernel_launches import watch_launches

import gpuquant
from gpuquant.clustering.lloyd import lloyd
from gpuquant.colors import codes as color_codes
from gpuquant.estimator import fit as estimator_fit
from gpuquant.estimator import level_pixels
from gpuquant.ops import kernel_choice
from gpuquant.ops.lloyd.cuda_runs import KernelLloyd
from gpuquant.ops.pixels import cuda as triton_ops
from gpuquant.ops.points.dense_points import DensePoints

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAUNCHERS = (
    "count_colors",
    "lookup_table",
    "breathe",
    "coarsen",
    "KernelSeeding",
    "KernelColorLloyd",
    "apply_lookup",
    "KernelLloyd",
    "choose_pixels",
)

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


def pictures(n_pixels: int, gray: bool) -> dict[str, Pixels]:
    random = np.random.RandomState(n_pixels)
    shape = (n_pixels,) if gray else (n_pixels, 3)
    return {
        "noise": random.randint(0, 256, shape).astype(np.uint8),
        "one color": np.full(shape, 255, np.uint8),
        "two colors": np.where(random.uniform(size=shape[:1] + (1,) * (len(shape) - 1)) < 0.5, 0, 255).astype(np.uint8)
        * np.ones(shape, np.uint8),
    }


def numpy_codes(pixels: Pixels) -> npt.NDArray[np.int64]:
    wide = pixels.astype(np.int64)
    return wide * 65793 if pixels.ndim == 1 else wide @ np.array([1, 256, 65536])


def check_counts(keys: torch.Tensor, counts: torch.Tensor, pixels: Pixels) -> None:
    assert (keys.dtype, counts.dtype) == (torch.int32, torch.int64)
    assert bool((keys[1:] > keys[:-1]).all())
    codes = numpy_codes(color_codes.colors_from_z_order(keys.cpu()).numpy())
    expected_codes, expected_counts = np.unique(numpy_codes(pixels), return_counts=True)
    order = np.argsort(codes)
    np.testing.assert_array_equal(codes[order], expected_codes)
    np.testing.assert_array_equal(counts.cpu().numpy()[order], expected_counts)


@pytest.mark.parametrize(
    ("n_pixels", "gray"), [(1, True), (255, False), (256, True), (512, False), (1025, True), (1027, False)]
)
def test_colors_are_counted_exactly(n_pixels: int, gray: bool) -> None:
    for pixels in pictures(n_pixels, gray).values():
        check_counts(*triton_ops.count_colors(torch.from_numpy(pixels).to(DEVICE)), pixels)


@pytest.mark.parametrize("gray", [False, True])
def test_colors_are_counted_chunk_by_chunk(gray: bool) -> None:
    pixels = pictures(1500, gray)["noise"]
    counting = triton_ops.KernelCounting(torch.device(DEVICE))
    for chunk in torch.from_numpy(pixels).to(DEVICE).split(592):
        counting.add(chunk)
    check_counts(*counting.counted(), pixels)


def test_bins_are_emptied_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bin is taken to hold 48 pixels: all of them may have one color."""
    monkeypatch.setattr(triton_ops, "MOST_IN_A_BIN", 48)
    monkeypatch.setattr(triton_ops, "COUNTED", 128)
    emptied: list[int] = []
    original = triton_ops.counted

    def counted(table: torch.Tensor) -> Any:
        emptied.append(int(table.sum()))
        return original(table)

    monkeypatch.setattr(triton_ops, "counted", counted)
    pixels = torch.full((100, 3), 7, dtype=torch.uint8, device=DEVICE)
    pixels[-1] = 9
    counting = triton_ops.KernelCounting(torch.device(DEVICE))
    for chunk in pixels.split(40):
        counting.add(chunk)
    for found in (triton_ops.count_colors(pixels), counting.counted()):
        assert [part.tolist() for part in found] == [[0o777, 0o7007], [99, 1]]
    assert emptied == [40, 40, 48, 48, 4, 20]


@pytest.mark.parametrize("n_columns", [3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
@pytest.mark.parametrize("gray", [False, True])
def test_pixels_are_looked_up(dtype: torch.dtype, gray: bool, n_columns: int) -> None:
    pixels = pictures(2500, gray)["noise"]
    codes, places = np.unique(numpy_codes(pixels), return_inverse=True)
    values = torch.from_numpy((codes >> 8 & 255) + (0 if dtype == torch.uint8 else 40_000))
    colors = color_codes.colors_from_codes(torch.from_numpy(codes))
    if n_columns == 4:
        colors = torch.cat([colors, torch.full((len(colors), 1), 255, dtype=torch.uint8)], dim=1)
    with triton_ops.lookup_table(colors.to(DEVICE), values.to(dtype).to(DEVICE)) as table:
        labels = triton_ops.apply_lookup(torch.from_numpy(pixels).to(DEVICE), table)
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels.cpu().numpy(), values.numpy()[places])


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("offset", [1, 2, 4, 8])
def test_views_that_begin_anywhere_are_read_as_copies(offset: int, gray: bool) -> None:
    pixels = pictures(1300, gray)["noise"]
    room = torch.zeros(pixels.size + offset, dtype=torch.uint8, device=DEVICE)
    view = room[offset:].view(pixels.shape)
    view.copy_(torch.from_numpy(pixels))
    assert view.data_ptr() % 16 == offset
    keys, counts = triton_ops.count_colors(view)
    check_counts(keys, counts, pixels)
    colors = triton_ops.colors_from_keys(keys)
    with triton_ops.lookup_table(colors, torch.arange(len(keys), dtype=torch.int32, device=DEVICE)) as table:
        labels = triton_ops.apply_lookup(view, table).long()
    assert torch.equal(torch.bincount(labels), counts)
    codes = numpy_codes(colors[labels].cpu().numpy())
    np.testing.assert_array_equal(codes, numpy_codes(pixels))


@pytest.mark.parametrize("n_columns", [3, 4])
@pytest.mark.parametrize("n_colors", [1, 1024, 1500])
def test_colors_have_the_keys_of_z_order_and_back(n_colors: int, n_columns: int) -> None:
    colors = np.random.RandomState(n_colors).randint(0, 256, (n_colors + 1, n_columns)).astype(np.uint8)
    given = torch.from_numpy(colors).to(DEVICE)[1:]
    keys = triton_ops.keys_from_colors(given)
    bits = np.unpackbits(colors[1:, :3], axis=1, bitorder="little").reshape(-1, 3, 8).astype(np.int64)
    np.testing.assert_array_equal(
        keys.cpu().numpy(), (bits << np.arange(3)[:, None] + 3 * np.arange(8)).sum(axis=(1, 2))
    )
    assert keys.dtype == torch.int32
    assert torch.equal(triton_ops.colors_from_keys(keys), given[:, :3])


def check_step(points: Floats, weights: Floats, centers: Floats, dtype: torch.dtype, **settings: Any) -> None:
    """One step on [B, N, D] points against distances in double precision."""
    n_problems, n_points, _ = points.shape
    given = torch.from_numpy(points).to(dtype)
    origin = given.double().mean(dim=1)
    relative = (torch.from_numpy(centers) - origin[:, None]).to(dtype)
    labels = torch.full((n_problems, n_points), -1, dtype=torch.int32)
    labels[:, ::2] = 0
    before = labels.clone()
    found, single = labels.to(DEVICE), dtype == torch.float32
    state = KernelLloyd(
        given.to(DEVICE),
        origin.to(DEVICE),
        torch.from_numpy(weights).to(DEVICE),
        found,
        centers.shape[1],
        single=single,
        snap="single" if single else "double",
        **settings,
    )
    on_device = relative.double().to(DEVICE)
    sums, totals, n_changed = state.step(on_device, list(range(n_problems)))
    sums, totals = sums.cpu(), totals.cpu()
    inertia = state.inertia(on_device).cpu().numpy()
    labels = found.cpu()
    for problem in range(n_problems):
        centered = given[problem].double().numpy() - origin[problem].numpy()
        distances = np.square(centered[:, None] - relative[problem].double().numpy()).sum(axis=2)
        own = labels[problem].numpy()
        excess = distances[np.arange(n_points), own] - distances.min(axis=1)
        assert inertia[problem] == pytest.approx(weights[problem] @ distances[np.arange(n_points), own], rel=1e-12)
        assert excess.max() <= (1e-12 if dtype == torch.float64 else 1e-5) * max(1, distances.max())
        np.testing.assert_allclose(totals[problem], np.bincount(own, weights[problem], centers.shape[1]), rtol=1e-12)
        expected = [np.bincount(own, weights[problem] * column, centers.shape[1]) for column in centered.T]
        np.testing.assert_allclose(sums[problem].T, np.stack(expected), rtol=1e-9, atol=1e-9)
        differ = own != before[problem].numpy()
        counted = differ if settings.get("count_weightless") else differ & (weights[problem] > 0)
        assert int(n_changed[problem]) == counted.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4])
@pytest.mark.parametrize(("n_points", "n_clusters"), [(1, 1), (1023, 2), (1025, 16), (3100, 17)])
def test_a_step_labels_and_sums(n_points: int, n_columns: int, n_clusters: int, dtype: torch.dtype) -> None:
    random = np.random.RandomState(n_points)
    points = random.normal(3, 2, (2, n_points, n_columns))
    weights = random.uniform(0, 2, (2, n_points)) * (random.uniform(size=(2, n_points)) < 0.8)
    centers = random.normal(3, 2, (2, n_clusters, n_columns))
    check_step(points, weights, centers, dtype, count_weightless=n_columns % 2 == 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_clusters", [256, 300])
def test_many_clusters_most_of_them_empty(n_clusters: int, dtype: torch.dtype) -> None:
    random = np.random.RandomState(0)
    points = random.normal(0, 1, (1, 200, 3))
    check_step(points, np.ones((1, 200)), random.normal(0, 1, (1, n_clusters, 3)), dtype)


def test_small_weights_are_not_lost_in_sums_of_many_clusters() -> None:
    """Weights of 1e-13 beside some of 1 would be a few units of an integer."""
    random = np.random.RandomState(0)
    points = random.normal(0, 1, (1, 2000, 2))
    points[0, 1900:] += 100
    weights = np.ones((1, 2000))
    weights[0, 1900:] = 1e-13
    check_step(points, weights, points[:, ::100], torch.float32)


@pytest.mark.parametrize("largest", [1e-20, 1e12])
def test_sums_of_many_clusters_hold_points_of_any_size(largest: float) -> None:
    """They are integers there, in multiples of what the largest point and all weights leave room for."""
    random = np.random.RandomState(0)
    points = random.normal(0, 1, (2, 3000, 2)) * np.array([largest, 1.0])[:, None, None]
    weights = random.uniform(0, 1e9, (2, 3000))
    labels = torch.full((2, 3000), -1, dtype=torch.int32, device=DEVICE)
    given = torch.from_numpy(points).float()
    origin = torch.zeros(2, 2, dtype=torch.float64, device=DEVICE)
    state = KernelLloyd(
        given.to(DEVICE), origin, torch.from_numpy(weights).to(DEVICE), labels, 40, single=True, snap="single"
    )
    sums, totals, _ = state.step(given[:, :40].double().to(DEVICE), [0, 1])
    for problem in range(2):
        own, numbers = labels[problem].cpu().numpy(), given[problem].double().numpy()
        np.testing.assert_allclose(totals[problem].cpu(), np.bincount(own, weights[problem], 40), rtol=1e-12)
        expected = np.stack([np.bincount(own, weights[problem] * column, 40) for column in numbers.T], axis=1)
        bound = weights[problem].sum() * np.abs(numbers).max()
        np.testing.assert_allclose(sums[problem].cpu(), expected, rtol=0, atol=1e-14 * bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_lowest_of_equal_centers_wins(dtype: torch.dtype) -> None:
    random = np.random.RandomState(0)
    points = torch.from_numpy(random.randint(-5, 6, (1, 1500, 3))).to(dtype).to(DEVICE)
    centers = torch.from_numpy(np.repeat(random.randint(-3, 4, (1, 5, 3)), 2, axis=1)).to(dtype).to(DEVICE)
    labels = torch.full((1, 1500), -1, dtype=torch.int32, device=DEVICE)
    origin, weights = torch.zeros(1, 3).double().to(DEVICE), torch.ones(1, 1500).double().to(DEVICE)
    single = dtype == torch.float32
    KernelLloyd(points, origin, weights, labels, 10, single=single, snap="double").step(centers.double(), [0])
    expected = torch.cdist(points.double(), centers.double()).square().round().cpu().numpy().argmin(axis=2)
    np.testing.assert_array_equal(labels.cpu().numpy(), expected)


@pytest.fixture
def on_kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels' launchers that were called, with CPU tensors taken for CUDA's."""
    called: list[str] = []

    def spy(name: str) -> Any:
        original = getattr(triton_ops, name)

        def launch(*given: Any, **settings: Any) -> Any:
            called.append(name)
            return original(*given, **settings)

        return launch

    for name in LAUNCHERS:
        monkeypatch.setattr(triton_ops, name, spy(name))
    monkeypatch.setattr(kernel_choice, "kernels_for", lambda _: triton_ops)
    watch_launches(monkeypatch)
    return called


@pytest.mark.parametrize("max_iter", [1, 7, 300])
@pytest.mark.parametrize("settings", [{}, {"relaxation": 1.5, "momentum": 0.6}])
def test_runs_on_the_device_are_those_of_the_host(
    on_kernels: list[str], max_iter: int, settings: dict[str, float]
) -> None:
    """Several runs that end at different times, two of them with empty clusters, which the host fills."""
    random = np.random.RandomState(5)
    points = torch.from_numpy(random.randint(0, 256, (2, 300, 3)).astype(np.float64))
    weights = torch.from_numpy(random.randint(0, 9, (2, 300)).astype(np.float64))
    centers = torch.from_numpy(random.uniform(0, 256, (4, 9, 3)))
    centers[1, 3:] = 255.0
    centers[2, :7] = centers[2, 7]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_choice, "kernels_for", lambda _: None)
        expected = lloyd(DensePoints(points, weights, None), centers, max_iter=max_iter, tol=1e-4, **settings)
    there: Any = DensePoints(points.to(DEVICE), weights.to(DEVICE), None)
    found = lloyd(there, centers.to(DEVICE), max_iter=max_iter, tol=1e-4, **settings)
    assert "KernelLloyd" in on_kernels
    assert found.n_iter == expected.n_iter
    assert found.converged == expected.converged
    torch.testing.assert_close(found.centers.cpu(), expected.centers, rtol=1e-12, atol=1e-12)
    assert torch.equal(found.labels.cpu(), expected.labels)
    assert found.inertia == pytest.approx(expected.inertia, rel=1e-12)


def small_photo() -> Pixels:
    random = np.random.RandomState(0)
    middles = random.randint(0, 256, (5, 3))
    return (middles[random.randint(0, 5, 400)] + random.normal(0, 9, (400, 3))).clip(0, 255).astype(np.uint8)


def test_quantizing_on_kernels_is_quantizing(on_kernels: list[str]) -> None:
    photo = small_photo().reshape(20, 20, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_choice, "kernels_for", lambda _: None)
        expected = gpuquant.quantize(photo, 4)
        assert on_kernels == []
    found = gpuquant.quantize(torch.from_numpy(photo).to(DEVICE), 4)
    assert set(on_kernels) == set(LAUNCHERS[:7])
    np.testing.assert_array_equal(torch.as_tensor(found.labels).cpu(), np.asarray(expected.labels))
    np.testing.assert_array_equal(torch.as_tensor(found.palette.colors).cpu(), np.asarray(expected.palette.colors))
    assert found.mse == expected.mse


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kmeans_on_kernels_is_kmeans(on_kernels: list[str], dtype: torch.dtype) -> None:
    points = torch.from_numpy(small_photo()).to(dtype).view(2, 200, 3) / 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_choice, "kernels_for", lambda _: None)
        expected = gpuquant.kmeans(points, 3, n_init=2)
    found = gpuquant.kmeans(points.to(DEVICE), 3, n_init=2)
    assert {"KernelLloyd", "KernelSeeding"} <= set(on_kernels)
    assert torch.equal(found.labels.cpu(), expected.labels)
    assert torch.equal(found.n_iter.cpu(), expected.n_iter)
    torch.testing.assert_close(found.centers.cpu(), expected.centers, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("few", [0, 1000])
def test_the_estimator_on_kernels_is_scikit_learns(
    on_kernels: list[str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are taken as 8-bit pixels, drawn in their order, and as what they are."""
    monkeypatch.setattr(level_pixels, "FEW_SAMPLES", few)
    monkeypatch.setattr(estimator_fit, "FEW", 0)  # as on CUDA
    samples = np.divide(small_photo(), 255)
    ours, theirs = gpuquant.KMeans(6, random_state=0).fit(samples), Reference(6, n_init=1, random_state=0).fit(samples)
    assert {"KernelLloyd", "KernelSeeding" if few else "choose_pixels"} <= set(on_kernels)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
