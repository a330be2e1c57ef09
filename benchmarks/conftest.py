"""Photographs by name, the tables that are printed at the end, and the files that keep them.

Options: --sizes 1MP,13MP and so on, --photos FOLDER for real photographs, --full for what takes long, --rounds 1 for a
rough look, --save FOLDER for results as JSON, with --resume what the folder lacks only, and --plan to see what would
run and how long. Rows that are measured again take the place of old ones. Quantizers are not timed by pytest-benchmark:
each has a process of its own, and as many runs as its time allows; or they take turns in one process.
"""

import dataclasses
import re
import statistics
import time
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from saving import RESULTS, check_folder, plan, save, seconds_taken

from gpuquant import QuantizedImage
from gpuquant.bench.measuring import Measurement, sample_photo, table

Pixels = npt.NDArray[np.uint8]
PHOTOS = Path(__file__).parents[2] / "shared" / "photos"  # optional: real photographs beside the checkout
SIZES = {"quantize": "0.1MP,0.4MP,1MP,13MP,50MP,100MP", "kmeans": "1MP,13MP"}  # of each bench_NAME.py
RATIO = ("what", "measured", "reach / aim", "beside")
CHINA = 1.4988  # width of that photo, of its height
MOST_SECONDS = 30  # after which no round in turn begins, so that all is measured within an hour
N_CHECKED = 5000  # pixels whose nearest entry is looked for among all
Report = Callable[[str, float, float, float, str], None]
Tell = Callable[[str, float, str], None]
Row = dict[str, Any]
Keep = Callable[..., None]
InTurn = Callable[..., tuple[dict[str, float], dict[str, Any]]]
Measured = tuple[list[tuple[str, str, str, str]], list[tuple[str, Row]]]  # rows, and tables with their devices
MEASURED = pytest.StashKey[Measured]()  # by a test
_SHOWN: dict[str, list[Measured]] = {}  # by the file that adds them


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def sized_photo(size: str) -> Pixels:  # [H, W, 3]
    """scikit-learn's photograph enlarged to "13MP" or any other number of megapixels, with sensor noise."""
    if size == "13MP":
        return sample_photo(4531, 3023)  # as many as the article's photo has, 13.7
    height = (float(size.removesuffix("MP")) * 1e6 / CHINA) ** 0.5
    return sample_photo(round(CHINA * height), round(height))


def devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def large_photo(name: str) -> Pixels:  # [H, W, 3]
    """A photograph by name: a real one, or "china_13mp", made from scikit-learn's photograph with sensor noise."""
    if name == "china_13mp":
        return sized_photo("13MP")
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


def named_photo(name: str) -> Pixels:  # [H, W, 3]
    """One of the Kodak photographs, or a large one."""
    return kodak()[name] if name.startswith("kodim") else large_photo(name)


def mse_of(pixels: Pixels, result: Pixels) -> float:
    """The mean over pixels of the sum over R, G and B of squared differences."""
    total = 0
    for rows in range(0, len(pixels), 256):
        apart = pixels[rows : rows + 256].astype(np.int32) - result[rows : rows + 256]
        total += int(np.square(apart).sum())
    return total / float(pixels.shape[0] * pixels.shape[1])


def rounded_mse(colors: Pixels, counts: npt.NDArray[np.int64], centers: npt.NDArray[np.float64]) -> float:
    """The MSE when centers are rounded and every color takes the nearest one."""
    palette = centers.round().clip(0, 255)
    total = 0.0
    for start in range(0, len(colors), 1 << 16):
        points = colors[start : start + (1 << 16)].astype(np.float64)
        scores = np.square(palette).sum(axis=1) - 2 * (points @ palette.T)
        apart = scores.min(axis=1) + np.square(points).sum(axis=1)
        total += float(apart @ counts[start : start + (1 << 16)])
    return total / float(counts.sum())


def check_quantized(pixels: Pixels, result: QuantizedImage, n_colors: int) -> None:
    """Fail unless K entries are used, the MSE is the picture's, and labels are the nearest entries on a sample."""
    colors, labels = np.asarray(result.palette.colors, np.int64), np.asarray(result.labels)
    assert labels.shape == pixels.shape[:2]
    assert np.bincount(labels.reshape(-1), minlength=n_colors).min() > 0
    assert len(colors) == n_colors
    assert result.mse == pytest.approx(mse_of(pixels, result.to_array()), rel=1e-12)
    sample = np.random.RandomState(0).choice(labels.size, min(N_CHECKED, labels.size), replace=False)
    for places in np.array_split(sample, 1 + len(sample) * n_colors // (1 << 22)):
        apart = np.square(pixels.reshape(-1, 3)[places][:, None].astype(np.int64) - colors).sum(axis=2)
        given = apart[np.arange(len(places)), labels.reshape(-1)[places]]
        np.testing.assert_array_equal(given, apart.min(axis=1))


@pytest.fixture
def in_turn(request: pytest.FixtureRequest) -> InTurn:
    """Time functions by their names in turn: the medians in seconds, and what each returned last."""
    most: int | None = request.config.getoption("--rounds")

    def run(
        functions: dict[str, Callable[[], Any]],
        rounds: int,  # at most: none begins after MOST_SECONDS
        *,
        warm_up: bool = True,  # by a call of each that is not timed
        before: Callable[[], None] = lambda: None,  # each round, not timed
    ) -> tuple[dict[str, float], dict[str, Any]]:
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        results: dict[str, Any] = {}
        begun = time.perf_counter()
        for number in range(-int(warm_up), min(rounds, most or rounds)):
            if number > 0 and time.perf_counter() - begun > MOST_SECONDS:
                break
            before()
            for name, function in functions.items():
                start = time.perf_counter()
                results[name] = function()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - start)
        return {name: statistics.median(times) for name, times in seconds.items()}, results

    return run


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Add a row: what, the measured figure, its reach and its aim, and what stands beside it."""

    def add(what: str, measured: float, reach: float, aim: float, beside: str) -> None:
        _measured(request)[0].append((what, f"{measured:.3f}", f"{reach:g} / {aim:g}", beside))

    return add


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Add a row that nothing is asked of: what, the measured figure, and what stands beside it."""

    def add(what: str, measured: float, beside: str) -> None:
        _measured(request)[0].append((what, f"{measured:.3f}", "", beside))

    return add


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Add a table of measurements, with what it is of: a kind, a photo, K."""

    def add(measurements: list[Measurement], device: str, **about: Any) -> None:
        rows = [dataclasses.asdict(one) for one in measurements]
        _measured(request)[1].append((device, about | {"measurements": rows}))

    return add


def _measured(request: pytest.FixtureRequest) -> Measured:
    """The lists that a test adds to, which are also those of the end."""
    held: Measured = request.node.stash.setdefault(MEASURED, ([], []))
    every = _SHOWN.setdefault(_subject(request.node), [])
    if not any(held is one for one in every):
        every.append(held)
    return held


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also what takes minutes")
    parser.addoption("--sizes", help=f"of photographs that are made, {SIZES['quantize']} if not given")
    parser.addoption("--photos", type=Path, help="a folder with photographs to compare quantizers on as well")
    parser.addoption("--rounds", type=int, help="at most so many runs of what is timed in turn, for a rough look")
    parser.addoption("--save", type=Path, help="a folder to write results to, NAME-DEVICE.json")
    parser.addoption("--resume", action="store_true", help="leave out tests whose results --save FOLDER has")
    parser.addoption("--plan", action="store_true", help="show what would run, and how long it took the last time")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that would fail late."""
    for size in (config.getoption("--sizes") or "1MP").split(","):
        if not re.fullmatch(r"\d*\.?\d+MP", size) or float(size.removesuffix("MP")) == 0:
            raise pytest.UsageError(f"--sizes: {size!r} is not a size such as 13MP or 0.5MP")
    rounds: int | None = config.getoption("--rounds")
    if rounds is not None and rounds < 1:
        raise pytest.UsageError(f"--rounds: {rounds} is not a number of runs")
    photos: Path | None = config.getoption("--photos")
    if photos and not photos.is_dir():
        raise pytest.UsageError(f"--photos: {photos} is not a folder")
    folder: Path | None = config.getoption("--save")
    if folder:
        check_folder(folder)
    elif config.getoption("--resume"):
        raise pytest.UsageError("--resume: goes on with what a folder has, so it needs --save FOLDER")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --resume finds to be done, and everything after --plan, which shows it."""
    folder: Path | None = config.getoption("--save")
    taken = seconds_taken(folder) if folder else {}
    done = set(taken) if config.getoption("--resume") else set()
    if config.getoption("--plan"):
        terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        terminal.ensure_newline()
        for line in plan([_name(item) for item in items], seconds_taken(RESULTS) | taken, done):
            terminal.write_line(line)
    left = [] if config.getoption("--plan") else [item for item in items if _name(item) not in done]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Nothing left to do is no failure."""
    options = session.config.option
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (options.plan or options.resume):
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Save what a test measured as soon as it has passed; that of one that fails is shown only."""
    start = time.perf_counter()
    yield
    folder: Path | None = item.config.getoption("--save")
    if not folder:
        return
    subject, (rows, tables) = _subject(item), item.stash.get(MEASURED, ([], []))
    devices_of_tables = list(dict.fromkeys(device for device, _ in tables)) or ["cpu"]
    for device in devices_of_tables:
        save(
            folder / f"{subject}-{device}.json",
            item.name,
            time.perf_counter() - start,
            [table for where, table in tables if where == device],
            [dict(zip(RATIO, row, strict=True)) for row in rows] if device == devices_of_tables[0] else [],
        )


def _name(item: pytest.Item) -> str:
    return f"{_subject(item)}: {item.name}"


def _subject(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("bench_")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of `size` runs for each of --sizes, one of `device` on each device, one of `photo` for each photograph."""
    config = metafunc.config
    folder: Path | None = config.getoption("--photos")
    if "size" in metafunc.fixturenames:
        usual = SIZES[metafunc.definition.path.stem.removeprefix("bench_")]
        metafunc.parametrize("size", (config.getoption("--sizes") or usual).split(","))
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices())
    if "photo" in metafunc.fixturenames:
        found = sorted(path for path in folder.iterdir() if path.is_file()) if folder else []
        metafunc.parametrize("photo", found, ids=[path.stem for path in found])


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write = terminalreporter.write_line
    rows = [row for every in _SHOWN.values() for rows, _ in every for row in rows]
    for subject, every in _SHOWN.items():
        for device, found in (one for _, tables in every for one in tables):
            described = ", ".join(str(value) for key, value in found.items() if key != "measurements")
            terminalreporter.section(f"{subject}, {device}: {described}")
            write(table([Measurement(**row) for row in found["measurements"]]))
    if rows:
        terminalreporter.section("measured")
        write("| what | measured | reach / aim | beside it |")
        write("| --- | --- | --- | --- |")
    for row in rows:
        write(f"| {' | '.join(row)} |")
