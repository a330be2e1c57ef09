"""Photographs by name and the table that is printed at the end."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gpuquant.benchmark import sample_photo

Pixels = npt.NDArray[np.uint8]
PHOTOS = Path(__file__).parents[2] / "shared" / "photos"  # optional: real photographs beside the checkout
Report = Callable[[str, float, float, float, str], None]
_ROWS: list[tuple[str, str, str, str]] = []


def large_photo(name: str) -> Pixels:  # [H, W, 3]
    """A photograph by name: a real one, or "china_13mp", made from scikit-learn's photograph with sensor noise."""
    if name == "china_13mp":
        return sample_photo(4271, 3204)
    path = PHOTOS / "large" / f"{name}.jpg"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return np.array(Image.open(path).convert("RGB"))


@cache
def kodak() -> dict[str, Pixels]:
    """The Kodak photographs."""
    paths = sorted((PHOTOS / "kodak").glob("*.png"))
    if not paths:
        pytest.skip("the Kodak photographs are not there")
    return {path.stem: np.array(Image.open(path).convert("RGB")) for path in paths}


def mse_of(pixels: Pixels, result: Pixels) -> float:
    """The mean over pixels of the sum over R, G and B of squared differences."""
    total = 0
    for rows in range(0, len(pixels), 256):
        apart = pixels[rows : rows + 256].astype(np.int32) - result[rows : rows + 256]
        total += int(np.square(apart).sum())
    return total / float(pixels.shape[0] * pixels.shape[1])


def rounded_mse(colors: Pixels, counts: npt.NDArray[np.int64], centers: npt.NDArray[np.float64]) -> float:
    """The MSE when centers are rounded and every colour takes the nearest one."""
    palette = centers.round().clip(0, 255)
    total = 0.0
    for start in range(0, len(colors), 1 << 16):
        points = colors[start : start + (1 << 16)].astype(np.float64)
        scores = np.square(palette).sum(axis=1) - 2 * (points @ palette.T)
        apart = scores.min(axis=1) + np.square(points).sum(axis=1)
        total += float(apart @ counts[start : start + (1 << 16)])
    return total / float(counts.sum())


@pytest.fixture
def report() -> Report:
    """Add a row: what, the measured figure, its reach and its aim, and what stands beside it."""

    def add(what: str, measured: float, reach: float, aim: float, beside: str) -> None:
        _ROWS.append((what, f"{measured:.3f}", f"{reach:g} / {aim:g}", beside))

    return add


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also what takes minutes")


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _ROWS:
        return
    terminalreporter.section("measured")
    terminalreporter.write_line("| what | measured | reach / aim | beside it |")
    terminalreporter.write_line("| --- | --- | --- | --- |")
    for row in _ROWS:
        terminalreporter.write_line(f"| {' | '.join(row)} |")
