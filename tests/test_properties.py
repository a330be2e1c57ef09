"""Properties of any result, on small and awkward inputs: one pixel, one color, extreme levels, no color to spare."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Floats, Pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from gpuquant import ColorHistogram, Palette, QuantizedImage, apply_palette, kmeans, quantize, quantize_files
from gpuquant.clustering.batched import KMeansResult
from gpuquant.clustering.initialization import INITIALIZATIONS
from gpuquant.colors.registry import SPACES
from gpuquant.dithering import methods as dithering_methods
from gpuquant.dithering.registry import METHODS
from gpuquant.fitting.coarse_to_fine import fit_palettes
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.fitting.search import KMEANS_DEFAULTS
from gpuquant.ops.dithering import cpu as dithering_cpu
from gpuquant.ops.lloyd import cpu as lloyd_cpu
from gpuquant.ops.lloyd import cpu_dense_runs, cpu_labels
from gpuquant.ops.pixels import cpu as pixels_cpu
from gpuquant.ops.pixels import cpu_alpha, cpu_counting
from gpuquant.ops.points import color_cells, cpu_cells, cpu_coarse, dense_points
from gpuquant.ops.points import colors as points_colors
from gpuquant.ops.seeding import cpu as seeding_cpu
from gpuquant.ops.seeding import cpu_dense as seeding_cpu_dense

LEVELS = st.sampled_from([0, 1, 127, 128, 254, 255]) | st.integers(0, 255)
SEEDS = st.integers(0, 2**32 - 1)
CHUNKS = st.sampled_from([1, 2, 7, 100, 10**9])
THREADS = st.integers(1, 4)
DITHER = st.sampled_from(list(METHODS))
SMALL_PARTS: list[tuple[ModuleType, str, Any]] = [  # so that threads share out what one would do by itself
    (lloyd_cpu, "SHARED", 0),
    (lloyd_cpu, "PAIRS_AT_ONCE", 1 << 10),
    (cpu_cells, "LEAF", 4),
    (cpu_coarse, "MANY", 0),
    (points_colors, "COLORS_AT_ONCE", 16),
    (color_cells, "COLORS_AT_ONCE", 8),
    (cpu_dense_runs, "SHARED", 0),
    (cpu_dense_runs, "AT_ONCE", 1 << 10),
    (cpu_labels, "ROWS", 64),
    (cpu_labels, "SHARED", 0),
    (dithering_cpu, "CHUNK_PIXELS", 8),
    (dithering_methods, "ORDERED_PIXELS", {"cpu": 8}),
    (dithering_methods, "STRIP_PIXELS", 8),
    (cpu_alpha, "PIXELS_A_PART", 8),
    (cpu_alpha, "CHUNK_PIXELS", 8),
    (pixels_cpu, "CHUNK_PIXELS", 8),
    (pixels_cpu, "FEW_PIXELS", 0),
    (cpu_counting, "CHUNK_PIXELS", 8),
    (cpu_counting, "FEW_PIXELS", 20),
    (cpu_counting, "PIXELS_A_TABLE", 1),
    (seeding_cpu, "PAIRS_AT_ONCE", 1 << 10),
    (seeding_cpu, "PAIRS_WORTH_THREADS", 0),
    (dense_points, "SUMMED", 64),
    (seeding_cpu_dense, "SHARED", 0),
    (seeding_cpu_dense, "PAIRS_AT_ONCE", 1 << 10),
]


@contextmanager
def threads(n_threads: int, *, small_parts: bool) -> Iterator[None]:
    """torch set to a number of threads, and parts so small that they are used."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in SMALL_PARTS if small_parts else ():
            patch.setattr(module, name, value)
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@st.composite
def images(draw: st.DrawFn, channels: tuple[int, ...] = (1, 3, 4)) -> Pixels:
    """Few colors on many pixels, or about as many as pixels: uint8 [H, W], [H, W, 3] or [H, W, 4]."""
    n_channels = draw(st.sampled_from(channels))
    widths = (
        st.integers(1, 9) if n_channels > 1 else st.sampled_from([1, 2, 5, 6, 7, 8, 9])
    )  # others are rows of pixels
    shape = draw(st.tuples(st.integers(1, 9), widths))
    if draw(st.booleans()):
        random = np.random.RandomState(draw(SEEDS))
        pixels = random.randint(0, 256, (*shape, n_channels))
    else:
        colors = np.array(draw(st.lists(st.tuples(*[LEVELS] * n_channels), min_size=1, max_size=9)))
        pixels = colors[draw(arrays(np.int64, shape, elements=st.integers(0, len(colors) - 1)))]
    return pixels.astype(np.uint8) if n_channels > 1 else pixels[..., 0].astype(np.uint8)


@st.composite
def palettes(draw: st.DrawFn) -> Palette:
    """With or without alpha, duplicates among them."""
    rows = np.array(draw(st.lists(st.tuples(*[LEVELS] * 4), min_size=1, max_size=9)), np.uint8)
    return Palette(rows[:, :3], rows[:, 3] if draw(st.booleans()) else None)


@dataclass(frozen=True, eq=False)
class Problem:
    points: torch.Tensor  # [B, N, D]
    weights: torch.Tensor  # [B, N] float64
    n_clusters: int

    def solve(self, **settings: Any) -> KMeansResult:
        return kmeans(self.points, self.n_clusters, weights=self.weights, **settings)


@st.composite
def problems(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = (torch.uint8, torch.float32, torch.float64)) -> Problem:
    """A batch: few places of many points, weights of 0 among them, or up to several hundred points."""
    dtype = draw(st.sampled_from(dtypes))
    n_problems = draw(st.integers(1, 3))
    n_columns = 3 if dtype == torch.uint8 else draw(st.integers(1, 5))
    random = np.random.RandomState(draw(SEEDS))
    if draw(st.booleans()):
        points = random.randint(0, 256, (n_problems, draw(st.integers(250, 600)), n_columns))
    else:
        places = np.array(draw(st.lists(st.tuples(*[LEVELS] * n_columns), min_size=1, max_size=9)))
        points = places[random.randint(0, len(places), (n_problems, draw(st.integers(1, 30))))]
    weights = random.randint(0, 4, points.shape[:2])
    weights[:, 0] = 1
    n_clusters = draw(st.integers(1, min(12, (weights > 0).sum(axis=1).min())))
    return Problem(torch.from_numpy(points).to(dtype), torch.from_numpy(weights).double(), n_clusters)


def rgb(pixels: Pixels) -> Pixels:  # [H, W] or [H, W, 3] -> [N, 3]
    return np.repeat(pixels.reshape(-1, 1), 3, axis=1) if pixels.ndim == 2 else pixels.reshape(-1, 3)


def differing(one: Any, other: Any) -> list[str]:
    """The names of fields that differ by a bit."""
    names = [field.name for field in fields(one) if field.name != "seconds"]
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in names}
    rows = {name: tuple(value.rows if isinstance(value, Palette) else value for value in pairs[name]) for name in names}
    return [name for name in names if not np.array_equal(np.asarray(rows[name][0]), np.asarray(rows[name][1]))]


@settings(max_examples=25)
@given(st.lists(images((1, 3)), min_size=1, max_size=4), CHUNKS, THREADS, st.booleans())
def test_counts_are_those_of_all_pixels(parts: list[Pixels], chunk_size: int, n_threads: int, small: bool) -> None:
    colors, counts = np.unique(np.concatenate([rgb(part) for part in parts]), axis=0, return_counts=True)
    expected = dict(zip(map(tuple, colors.tolist()), counts.tolist(), strict=True))
    together, merged = ColorHistogram(), ColorHistogram()
    with threads(n_threads, small_parts=small):
        for part in parts:
            pixels = part.reshape(-1) if part.ndim == 2 else part  # gray [H, 3] would be H colors
            together.add(pixels, chunk_size=chunk_size)
            alone = ColorHistogram()
            alone.add(pixels)
            assert alone.n_pixels == len(rgb(part))
            merged = alone + merged
    for histogram in (together, merged):
        assert histogram.n_pixels == sum(len(rgb(part)) for part in parts)
        found = zip(map(tuple, histogram.colors.tolist()), histogram.counts.tolist(), strict=True)
        assert dict(found) == expected
        assert len(histogram) == len(expected)
    assert torch.equal(together.colors, merged.colors)


def inertia_of(points: Floats, weights: Floats, centers: Floats) -> float:
    apart = np.square(points[:, None] - centers).sum(axis=2).min(axis=1)
    return float((apart * weights).sum())


@settings(max_examples=25)
@given(problems(), SEEDS)
def test_inertia_never_rises(problem: Problem, seed: int) -> None:
    shape = len(problem.points), problem.n_clusters, problem.points.shape[2]
    init = torch.from_numpy(np.random.RandomState(seed).uniform(0, 255, shape))
    rounding = {torch.uint8: 0.0, torch.float32: 1e-5, torch.float64: 1e-12}[problem.points.dtype]
    largest = 255**2 * problem.weights.sum(dim=1) * shape[2]
    before = torch.full((shape[0],), torch.inf, dtype=torch.float64)
    for max_iter in range(1, 9):
        result = problem.solve(init=init, max_iter=max_iter, tol=0)
        assert bool((result.inertia <= before + rounding * largest).all())
        for place, found in enumerate(result.inertia.tolist()):
            points, centers = problem.points[place].double().numpy(), result.centers[place].double().numpy()
            expected = inertia_of(points, problem.weights[place].numpy(), centers)
            assert abs(found - expected) <= max(rounding, 1e-15) * float(largest[place])
        before = result.inertia
        if bool(result.converged.all()):
            break


@settings(max_examples=40)
@given(problems(), CHUNKS, THREADS, st.booleans(), st.sampled_from(list(INITIALIZATIONS)), SEEDS)
def test_kmeans_depends_on_neither_chunks_nor_threads_nor_company(
    problem: Problem, chunk_size: int, n_threads: int, small: bool, init: str, seed: int
) -> None:
    given: dict[str, Any] = {"init": init, "n_init": 2, "max_iter": 20, "random_state": seed}
    with threads(1, small_parts=small):
        alone = [
            kmeans(points, problem.n_clusters, weights=weights, **given)
            for points, weights in zip(problem.points, problem.weights, strict=True)
        ]
    with threads(n_threads, small_parts=small):
        together = problem.solve(chunk_size=chunk_size, **given)
    for place, expected in enumerate(alone):
        one = KMeansResult(**{field.name: getattr(together, field.name)[place] for field in fields(together)})
        assert differing(one, expected) == []


@settings(max_examples=40)
@given(problems((torch.uint8, torch.float64)), st.integers(1, 300), st.sampled_from(list(INITIALIZATIONS)), SEEDS)
def test_padding_changes_nothing(problem: Problem, n_padding: int, init: str, seed: int) -> None:
    n_problems, n_points, n_columns = problem.points.shape
    random = np.random.RandomState(seed)
    padding = torch.from_numpy(random.randint(0, 256, (n_problems, n_padding, n_columns)))
    points = torch.cat([problem.points, padding.to(problem.points.dtype)], dim=1)
    weights = torch.cat([problem.weights, problem.weights.new_zeros(n_problems, n_padding)], dim=1)
    places = np.arange(n_points)  # of the real points
    if problem.points.dtype == torch.uint8:  # whose sums are exact, however padding parts them
        places = np.sort(random.permutation(n_points + n_padding)[:n_points])
    order = np.argsort(np.concatenate([places, np.setdiff1d(np.arange(n_points + n_padding), places)]))
    padded = Problem(points[:, order], weights[:, order], problem.n_clusters)
    given: dict[str, Any] = {"init": init, "max_iter": 20, "random_state": seed}
    expected, found = problem.solve(**given), padded.solve(**given)
    assert torch.equal(found.labels[:, places], expected.labels)
    assert torch.equal(found.centers, expected.centers)
    assert torch.equal(found.inertia, expected.inertia)
    for place, (one, weight) in enumerate(zip(problem.points, problem.weights, strict=True)):
        if len(one[weight > 0].unique(dim=0)) >= problem.n_clusters:  # or else centers start anywhere
            assert found.n_iter[place] == expected.n_iter[place]
    assert torch.equal(found.converged, expected.converged)


@settings(max_examples=20)
@given(images(), st.integers(1, 12), CHUNKS, THREADS, st.booleans(), DITHER, st.sampled_from(list(SPACES)))
def test_images_depend_on_neither_chunks_nor_threads(
    image: Pixels, n_colors: int, chunk_size: int, n_threads: int, small: bool, dither: str, color_space: str
) -> None:
    def results(chunk_size: int | None) -> list[QuantizedImage]:
        found = quantize(image, n_colors, dither=dither, color_space=color_space, chunk_size=chunk_size)
        return [found, apply_palette(255 - image, found.palette, dither=dither, chunk_size=chunk_size)]

    with threads(1, small_parts=small):
        expected = results(None)
    with threads(n_threads, small_parts=small):
        found = results(chunk_size)
    for one, other in zip(found, expected, strict=True):
        assert differing(one, other) == []


@settings(max_examples=40)
@given(st.lists(images((1, 3)), min_size=1, max_size=5), st.integers(1, 12), SEEDS)
def test_palettes_do_not_depend_on_company(parts: list[Pixels], n_colors: int, seed: int) -> None:
    problems: list[PaletteProblem] = []
    for part in parts:
        histogram = ColorHistogram()
        histogram.add(rgb(part))
        problems.append(PaletteProblem(histogram.colors, histogram.counts))
    given = KMEANS_DEFAULTS | {"random_state": seed}
    together = fit_palettes(problems, n_colors, **given)
    for problem, found in zip(problems, together, strict=True):
        (alone,) = fit_palettes([problem], n_colors, **given)
        assert differing(found, alone) == []


@settings(max_examples=15)
@given(st.lists(images(), min_size=1, max_size=4), st.integers(1, 12), st.integers(1, 3), DITHER)
def test_files_do_not_depend_on_company(parts: list[Pixels], n_colors: int, jobs: int, dither: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        photos = [Path(name) / f"{number}.png" for number in range(len(parts))]
        for photo, part in zip(photos, parts, strict=True):
            Image.fromarray(part).save(photo)
        outcomes = {
            outcome.source.name: outcome
            for outcome in quantize_files(photos, Path(name) / "out", n_colors, jobs=jobs, dither=dither)
        }
        for photo in photos:
            alone, outcome = quantize(photo, n_colors, dither=dither), outcomes[photo.name]
            assert (outcome.error, outcome.mse, outcome.n_colors) == (None, alone.mse, len(alone.palette))
            with Image.open(Path(name) / "out" / photo.name) as image:
                np.testing.assert_array_equal(np.asarray(image), alone.labels)
                np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), alone.palette.rgba[alone.labels])


@settings(max_examples=30)
@given(images(), palettes(), DITHER)
def test_what_was_mapped_stays_as_it_is(image: Pixels, palette: Palette, dither: str) -> None:
    once = apply_palette(image, palette, dither=dither)
    again = apply_palette(once.to_array(), palette, dither=dither)
    assert again.mse == 0
    np.testing.assert_array_equal(again.palette.rgba[again.labels], once.palette.rgba[once.labels])
    if dither == "none":
        np.testing.assert_array_equal(again.labels, once.labels)


@settings(max_examples=40)
@given(images(), st.integers(1, 90), st.sampled_from(list(SPACES)), DITHER)
def test_a_result_has_no_more_to_lose(image: Pixels, n_colors: int, color_space: str, dither: str) -> None:
    once = quantize(image, n_colors, color_space=color_space, dither=dither)
    again = quantize(once.to_array(), n_colors, color_space=color_space, dither=dither)
    assert (again.mse, again.psnr) == (0, np.inf)
    np.testing.assert_array_equal(again.to_array(), once.to_array())
    n_distinct = len(np.unique(image.reshape(-1, *image.shape[2:]), axis=0))
    if n_distinct <= n_colors:
        assert quantize(image, n_distinct).mse == 0
