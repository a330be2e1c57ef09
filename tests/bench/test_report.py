"""The tables and plots of both pages are those of the stored results; tables from results worked out by hand."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "report.py"
MACHINE = {"processor": "A", "cores": 2, "threads": 3, "python": "3", "torch": "2", "numpy": "1"}


def row(
    name: str, seconds: list[float], n_pixels: int, mse: float, n_colors: int = 8, peak: float | None = None
) -> dict[str, object]:
    return {
        "name": name,
        "version": "1",
        "seconds": seconds,
        "n_pixels": n_pixels,
        "n_colors": n_colors,
        "mse": mse,
        "peak_megabytes": peak,
        "problem": "" if seconds else "stopped",
    }


def ratio(what: str, measured: str, reach: str = "", beside: str = "") -> dict[str, str]:
    return {"what": what, "measured": measured, "reach / aim": reach, "beside": beside}


def store(folder: Path, subject: str, tables: list[dict[str, object]], *ratios: dict[str, str]) -> None:
    stored = {"machine": MACHINE, "tables": tables, "ratios": ratios}
    (folder / f"{subject}-cpu.json").write_text(json.dumps(stored))


@pytest.fixture
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    large = [row("a", [3.0, 1.0, 2.0], 2_000_000, 10.26), row("b", [], 2_000_000, 0.0)]
    small = [row("b", [0.25], 1_000_000, 7.0)]
    tables: list[dict[str, object]] = [
        {"kind": "peers", "photo": "china.jpg, 13MP", "n_colors": 8, "measurements": large},
        {"kind": "peers", "photo": "china.jpg, 1MP", "n_colors": 8, "measurements": small},
        {"kind": "peers", "photo": "china.jpg, 1MP", "n_colors": 9, "measurements": small},
    ]
    store(tmp_path, "quantize", tables)
    store(
        tmp_path,
        "quality",
        [],
        ratio("Kodak, 2 photos, K = 16, best: MSE / theirs", "0.9", "1 / 1", "x"),
        ratio("Kodak, 2 photos, K = 4, best: MSE / theirs", "0.8", "0.33333 / 0.1"),
        ratio("Kodak, 2 photos, K = 4, fast: time of k-means", "0.5"),
        ratio("other, K = 3: seconds", "7", beside="y"),
    )
    return tmp_path


@pytest.mark.usefixtures("results")
def test_seconds_and_errors_by_size(report: ModuleType) -> None:
    assert report.by_size(8).splitlines()[3:] == [
        "|  | 1.0 megapixels | 2.0 megapixels |",
        "| --- | ---: | ---: |",
        "| b | 0.25 / 7.0 | - |",
        "| a |  | 2.00 / 10.3 |",
    ]


@pytest.mark.usefixtures("results")
def test_efforts_by_colors(report: ModuleType) -> None:
    assert report.efforts().splitlines() == [
        "|  | K = 4 | K = 16 |",
        "| --- | ---: | ---: |",
        "| best: MSE | 0.8 | 0.9 |",
        "| fast: time | 0.5 |  |",
    ]


@pytest.mark.usefixtures("results")
def test_single_figures(report: ModuleType) -> None:
    assert report.ratios("quality", "Kodak, 2 photos, ").splitlines() == [
        "| what | measured | goal | beside it |",
        "| --- | ---: | ---: | --- |",
        "| K = 16, best: MSE / theirs | 0.9 | 1 | x |",
        "| K = 4, best: MSE / theirs | 0.8 | 0.333 |  |",
        "| K = 4, fast: time of k-means | 0.5 |  |  |",
    ]
    assert report.ratios("quality", "other, ").splitlines()[::2] == [
        "| what | measured | beside it |",
        "| K = 3: seconds | 7 | y |",
    ]


def test_five_rows_in_short(report: ModuleType, results: Path) -> None:
    few = [row("gpuquant", [0.5, 0.75, 0.7], 2_000_000, 10.25, peak=99.6)]
    few += [row(report.SCIKIT_LEARN, [9.0], 2_000_000, 11.0, peak=200.0)]
    many = [row("gpuquant", [1.0], 2_000_000, 3.0, 256), row(report.SCIKIT_LEARN, [], 2_000_000, 0.0, 256)]
    tables: list[dict[str, object]] = [
        {"kind": "peers", "photo": "china.jpg, 13MP", "n_colors": n_colors, "measurements": rows}
        for n_colors, rows in ((256, many), (8, few))
    ]
    store(results, "quantize", tables)
    beside = "ours 1.5 s, scikit-learn 30 s (median of 3), 0 labels differ, n_iter 4"
    told = "china_13mp as a JPEG, K = {}, max_iter {}: time / scikit-learn's"
    estimator = [ratio(told.format(8, 5), "9"), ratio(told.format(8, 300), "0.05", beside=beside)]
    store(results, "estimator", [], *estimator, ratio(told.format(64, 300), "9"))
    store(
        results, "batch", [], ratio("6 photos: time of a loop / that of the batch", "2", beside="4 s, 5 MP/s; loop 8 s")
    )
    assert report.in_short().splitlines() == [
        "| on A, 2 cores | gpuquant | beside it |",
        "| --- | ---: | --- |",
        "| a photo of 2.0 megapixels in 8 colors | 0.70 s, MSE 10.2 | scikit-learn's KMeans: 9.00 s, MSE 11.0 |",
        "| the same in 256 colors | 1.00 s, MSE 3.0 | scikit-learn's KMeans: stopped |",
        "| memory for 8 colors, beside the pixels | 100 MB | scikit-learn's KMeans: 200 MB |",
        "| `KMeans` on its pixels, as a JPEG, 8 clusters | 1.5 s | scikit-learn's: 30 s; 0 labels differ |",
        "| 6 photos as one batch | 4 s, 5 MP/s | one after the other: 8 s |",
    ]
    store(results, "batch", [], ratio("6 photos: memory", "2"))
    with pytest.raises(SystemExit, match=r"batch-cpu\.json has 0 figures"):
        report.in_short()


def test_machines_that_differ_are_told_apart(report: ModuleType, results: Path) -> None:
    one = "A, 2 cores, 3 threads; Python 3, torch 2, NumPy 1"
    assert report.machines() == f"\nMeasured on {one}.\n"
    other = {"machine": MACHINE | {"processor": "B"}, "tables": [], "ratios": []}
    (results / "looks-cpu.json").write_text(json.dumps(other))
    expected = f"{one} (quantize-cpu, quality-cpu); and on {one.replace('A', 'B', 1)} (looks-cpu)"
    assert report.machines() == f"\nMeasured on {expected}.\n"


def test_tables_are_those_of_the_results(report: ModuleType) -> None:
    for path, parts in report.PAGES.items():
        assert all(part().count("\n") > 2 for part in parts.values())  # a heading, a rule and more
        assert report.page(path) == path.read_text()
    assert "gpuquant, effort=best" in report.PAGE.read_text()


def test_a_page_without_a_marker_is_not_written(
    report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(report.README.read_text().replace("<!-- speed: ", "<!-- sped: "))
    monkeypatch.setattr(report, "PAGES", {page: report.PAGES[report.README]})
    with pytest.raises(SystemExit, match=r"has markers of \[\], not of \['speed'\]"):
        report.page(page)


def test_plots_are_those_of_the_results(report: ModuleType) -> None:
    for name in report.PLOTS:
        with Image.open(report.PICTURES / f"{name}.png") as plot:
            assert plot.info[report.DIGEST] == report.digest(), name
