"""The stored results, as the tables and plots of benchmarks/README.md read them."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuquant.bench.measuring import Measurement

RESULTS = Path(__file__).parent / "results"
SUBJECTS = ("quantize", "kmeans", "estimator", "batch", "quality", "looks")
WIDTH = 128  # letters in a line of a page
MAIN_PHOTO = "china.jpg, 13MP"
MADE_PHOTO = "china.jpg, "  # how the names of its sizes begin
OURS, SCIKIT_LEARN = "gpuquant", "scikit-learn KMeans(n_init=1)"


def documents(subject: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stored results of a subject, with the device that it ran on."""
    for device in ("cpu", "cuda"):
        path = RESULTS / f"{subject}-{device}.json"
        if path.exists():
            yield device, json.loads(path.read_text())


def tables(kind: str, **wanted: Any) -> list[dict[str, Any]]:
    """The stored tables of a kind: those of the CPU first, of few pixels and of few colors."""
    wanted["kind"] = kind
    every = (
        one | {"device": device}
        for subject in SUBJECTS
        for device, document in documents(subject)
        for one in document["tables"]
    )
    found = [one for one in every if all(one.get(key) == wanted[key] for key in wanted)]
    return sorted(found, key=lambda one: (one["device"], one["measurements"][0]["n_pixels"], one["n_colors"]))


def by_size(n_colors: int) -> list[dict[str, Any]]:
    """The tables of the photo that is made in several sizes, on the CPU."""
    found = tables("peers", n_colors=n_colors, device="cpu")
    return [one for one in found if one["photo"].startswith(MADE_PHOTO)]


def measurements(found: dict[str, Any]) -> list[Measurement]:
    return [Measurement(**{**row, "seconds": tuple(row["seconds"])}) for row in found["measurements"]]


def megapixels(rows: list[Measurement]) -> str:
    return f"{rows[0].n_pixels / 1e6:.1f}"


def figures(subject: str, start: str = "") -> list[dict[str, str]]:
    """The single figures whose names start so."""
    return [row for _, document in documents(subject) for row in document["ratios"] if row["what"].startswith(start)]


def words_of(subject: str, pattern: str) -> tuple[str, ...]:
    """Parts of the one single figure of the CPU that fits: its name, and after a bar what stands beside it."""
    every = (row for device, document in documents(subject) if device == "cpu" for row in document["ratios"])
    found = [one for row in every if (one := re.fullmatch(pattern, f"{row['what']} | {row['beside']}"))]
    if len(found) != 1:
        sys.exit(f"report: {subject}-cpu.json has {len(found)} figures that are like {pattern}, not one")
    return found[0].groups()


def machine(about: dict[str, Any]) -> str:
    versions = f"Python {about['python']}, torch {about['torch']}, NumPy {about['numpy']}"
    cuda = f"{about['cuda']}, " if "cuda" in about else ""
    return f"{cuda}{about['processor']}, {about['cores']} cores, {about['threads']} threads; {versions}"
