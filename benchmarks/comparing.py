"""Quantizers one after the other on one photo, under rules that are the same for all and let a comparison end.

Each runs five times, or as often as runs begin within five seconds, and is stopped after a minute. One is not begun at
all where the time that it took with fewer pixels says that it would be stopped, or, with more pixels than the main
photo has, that it is none of the quick ones.
"""

from typing import Any

from conftest import Pixels

from gpuquant.bench.measuring import Measurement, measure_apart, not_measured, stored
from gpuquant.bench.peers import Quantizer

ROUNDS = 5
MEASURED: dict[str, Any] = {"rounds": ROUNDS, "most_seconds": 5, "limit": 60}
MAIN_PIXELS = 13.7e6  # of the photo that most tables are of
BEGUN = "scikit-learn KMeans"  # with these in any case, as README compares with it
HOPELESS = 2  # times the limit that it would take, if its time grows as the pixels do
QUICK_SECONDS = 5  # with fewer pixels, up to which it is begun with more than MAIN_PIXELS


def compare(
    pixels: Pixels,
    n_colors: int,
    every: list[Quantizer],
    settings: dict[str, Any],
    earlier: list[Measurement] | None = None,  # of fewer pixels
) -> list[Measurement]:
    """Measure each, but those that are known to take too long."""
    n_pixels = pixels.size // 3
    found = []
    with stored(pixels) as file:
        for one in every:
            rows = [row for row in earlier or [] if row.name == one.name and row.n_pixels < n_pixels]
            problem = too_slow(max(rows, key=lambda row: row.n_pixels), n_pixels, settings["limit"]) if rows else ""
            measured = not_measured(one, n_pixels, problem) if problem else None
            found.append(measured or measure_apart(one, file, n_colors, **settings))
    return found


def too_slow(row: Measurement, n_pixels: int, limit: float) -> str:
    """Why a quantizer is not begun with so many pixels, or nothing: it runs. Ours always does."""
    is_larger = n_pixels > MAIN_PIXELS
    if row.name.startswith("gpuquant") or (row.name.startswith(BEGUN) and not is_larger):
        return ""
    if not row.seconds:
        return row.problem if row.problem.startswith("not ") else f"not begun, as with fewer pixels: {row.problem}"
    most = QUICK_SECONDS if is_larger else HOPELESS * limit * row.n_pixels / n_pixels
    with_fewer = f"{row.median:.2g} s with {row.n_pixels / 1e6:.1f} megapixels"
    return f"not begun, as it took {with_fewer}" if row.median > most else ""


def check(found: list[Measurement], n_colors: int) -> None:
    """Ours is the first, and must have K colors, or all, and an error that no other is far below."""
    ours = found[0]
    assert ours.name.startswith("gpuquant"), ours.name
    assert not ours.problem
    assert ours.n_colors == n_colors or ours.mse == 0
    assert all(one.n_colors <= n_colors for one in found)
    assert ours.mse <= 1.03 * min(one.mse for one in found if one.seconds)
