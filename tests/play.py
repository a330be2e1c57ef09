"""Let gpuquant work on a played CUDA device, and print what it asks of it as JSON, a line for each case.

Usage: python tests/play.py [CASE...] [--chip N] [--only-bind]

Cases of one photo run once, so that kernels are compiled, and then again, recorded; the others come after them.
Results are held against the CPU's. Not in Triton's interpreter.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from played import device, driver
from played.costs import event_us
from played.record import RECORD
from sklearn.datasets import load_sample_image

import gpuquant
from gpuquant.fitting import coarse_to_fine
from gpuquant.fitting.search import check_search
from gpuquant.quantization.steps import count_image, fit_together, map_image

Pixels = npt.NDArray[np.uint8]
Row = dict[str, Any]
N_PHOTOS = 32
# milliseconds of this CPU for loops in between: of breathing k-means that is not done on the device
HOST: dict[str, float] = {}


def china(step: int = 3) -> Pixels:  # [H, W, 3]
    """scikit-learn's photograph at a part of its size."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[::step, ::step])


def there(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).to(device.DEVICE)


def here(values: Any) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = torch.as_tensor(values).cpu().numpy()
    return found


@contextmanager
def recorded(row: Row) -> Iterator[None]:
    """Put into the row what is asked for inside."""
    RECORD.clear()
    HOST.clear()
    yield
    row |= RECORD.counts() | {"direct": sum(event.is_direct for event in RECORD.events), "stages": RECORD.stages()}
    row["host_ms"] = HOST.pop("breathe", 0.0)
    for event in RECORD.events:
        stage = row["stages"][event.stage]
        stage["ms"] = stage.get("ms", 0) + event_us(event) / 1e3
    if row["host_ms"]:
        row["stages"]["breathing"]["ms"] += row["host_ms"]
    row["ms"] = sum(stage["ms"] for stage in row["stages"].values())
    row["named"] = {kind: RECORD.names(kind) for kind in ("operation", "launch", "wait")}


def quantized(image: Pixels, n_colors: int, **settings: Any) -> Row:
    """One photo on the device."""
    given, row = there(image), Row()
    histogram = gpuquant.ColorHistogram()
    histogram.add(image)
    row["n_photo_colors"] = len(histogram)
    gpuquant.quantize(given, n_colors, **settings)
    with recorded(row):
        found = gpuquant.quantize(given, n_colors, **settings)
    expected = gpuquant.quantize(image, n_colors, device="cpu", **settings)
    same = np.array_equal(here(found.labels), expected.labels) and found.mse == expected.mse
    return row | {"same": bool(same and np.array_equal(here(found.palette.colors), expected.palette.colors))}


def estimated(samples: npt.NDArray[Any], **settings: Any) -> Row:
    """The estimator on samples of the host."""
    row, settings = Row(), {"n_clusters": 8, "random_state": 0} | settings
    gpuquant.KMeans(**settings, device=str(device.DEVICE)).fit(samples)
    with recorded(row):
        found = gpuquant.KMeans(**settings, device=str(device.DEVICE)).fit(samples)
    expected = gpuquant.KMeans(**settings, device="cpu").fit(samples)
    same = np.array_equal(found.labels_, expected.labels_) and found.n_iter_ == expected.n_iter_
    close = np.allclose(found.cluster_centers_, expected.cluster_centers_, rtol=1e-6, atol=1e-9)
    return row | {"same": bool(same and close)}


def batch() -> Row:
    """Small photos counted one after the other, clustered together, and mapped."""
    whole, row, search = china(), Row(), check_search(16)
    photos = [np.ascontiguousarray(whole[place : place + 30, place : place + 50]) for place in range(N_PHOTOS)]
    with recorded(row):
        counted = [count_image(photo, device.DEVICE, 1 << 30, None, False) for photo in photos]
        fits = fit_together(counted, search)
        results = [map_image(*one) for one in zip(photos, counted, fits, strict=True)]
    expected = [gpuquant.quantize(photo, 16, device="cpu") for photo in photos]
    same = [np.array_equal(one.labels, other.labels) for one, other in zip(results, expected, strict=True)]
    return row | {"same": all(same)}


def others() -> Row:
    """After the first cases: other sizes, other numbers of colors below the same power of two, an odd address."""
    image, row = china(), Row()
    pixels = there(image)
    odd = torch.zeros(pixels.numel() + 1, dtype=torch.uint8, device=pixels.device)[1:].view(pixels.shape)
    odd.copy_(pixels)
    with recorded(row):
        for height, width in ((97, 128), (1, 200)):
            gpuquant.quantize(there(np.ascontiguousarray(image[:height, :width])), 8)
        for n_colors in (5, 200):
            gpuquant.quantize(pixels, n_colors)
        found = gpuquant.quantize(odd, 8)
    return row | {"same": np.array_equal(here(found.labels), gpuquant.quantize(image, 8, device="cpu").labels)}


def levels() -> npt.NDArray[np.float64]:
    return np.divide(china(4).reshape(-1, 3), 255)


def points() -> npt.NDArray[np.float32]:
    random = np.random.RandomState(0)
    middles = random.normal(0, 9, (12, 3))
    return (middles[random.randint(0, 12, 4000)] + random.normal(0, 1, (4000, 3))).astype(np.float32)


CASES: dict[str, Callable[[], Row]] = {
    "quantize, K = 8": lambda: quantized(china(), 8),
    "quantize, K = 256": lambda: quantized(china(), 256),
    "others": others,
    "quantize, K = 300": lambda: quantized(china(4), 300),
    "KMeans on levels": lambda: estimated(levels()),
    "KMeans on points": lambda: estimated(points(), n_clusters=12),
    "batch": batch,
    "blue noise": lambda: quantized(china(4), 8, dither="blue-noise"),
    "Floyd-Steinberg": lambda: quantized(china(8), 8, dither="floyd-steinberg"),
}


def install(chip: int, *, compiles: bool = True) -> None:
    """Let this process have the device."""
    device.install()
    driver.install(chip, compiles=compiles)
    searching: Any = coarse_to_fine
    breathe = searching.breathe

    def timed(*given: Any, **named: Any) -> Any:
        n_launched, start = RECORD.names("launch").get("breathe_kernel", 0), time.thread_time()
        found = breathe(*given, **named)
        if RECORD.names("launch").get("breathe_kernel", 0) > n_launched:  # that time was its emulation's
            return found
        HOST["breathe"] = HOST.get("breathe", 0.0) + 1e3 * (time.thread_time() - start)
        return found

    searching.breathe = timed


def main() -> None:
    parser = argparse.ArgumentParser(description="Let gpuquant work on a played CUDA device.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="; ".join(CASES))
    parser.add_argument("--chip", type=int, default=90, help="%(default)s")
    parser.add_argument("--only-bind", action="store_true", help="compile nothing: only tell what would be compiled")
    given = parser.parse_args()
    install(given.chip, compiles=not given.only_bind)
    for name in given.cases or CASES:
        start = time.process_time()
        row = CASES[name]()
        print(json.dumps({"case": name, "cpu_s": time.process_time() - start, **row}), flush=True)


if __name__ == "__main__":
    main()
