"""The tables and plots of README.md are those of the stored results; tables from results worked out by hand."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import script
from PIL import Image

MACHINE = {"processor": "A", "cores": 2, "threads": 3, "python": "3", "torch": "2", "numpy": "1"}


def row(name: str, seconds: list[float], n_pixels: int, mse: float) -> dict[str, object]:
    return {
        "name": name,
        "version": "1",
        "seconds": seconds,
        "n_pixels": n_pixels,
        "n_colors": 8,
        "mse": mse,
        "peak_megabytes": None,
        "problem": "" if seconds else "stopped",
    }


@pytest.fixture
def report() -> ModuleType:
    return script("make_report")


@pytest.fixture
def results(report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    large = [row("a", [3.0, 1.0, 2.0], 2_000_000, 10.26), row("b", [], 2_000_000, 0.0)]
    small = [row("b", [0.25], 1_000_000, 7.0)]
    tables = [
        {"kind": "peers", "photo": "china.jpg, 13MP", "n_colors": 8, "measurements": large},
        {"kind": "peers", "photo": "china.jpg, 1MP", "n_colors": 8, "measurements": small},
        {"kind": "peers", "photo": "china.jpg, 1MP", "n_colors": 9, "measurements": small},
    ]
    (tmp_path / "quantize-cpu.json").write_text(json.dumps({"machine": MACHINE, "tables": tables, "ratios": []}))
    figures = [
        ("Kodak, 2 photos, K = 16, best: MSE / theirs", "0.9", "1 / 1", "x"),
        ("Kodak, 2 photos, K = 4, best: MSE / theirs", "0.8", "0.33333 / 0.1", ""),
        ("Kodak, 2 photos, K = 4, fast: time of k-means", "0.5", "", ""),
        ("other, K = 3: seconds", "7", "", "y"),
    ]
    ratios = [dict(zip(("what", "measured", "reach / aim", "beside"), one, strict=True)) for one in figures]
    (tmp_path / "quality-cpu.json").write_text(json.dumps({"machine": MACHINE, "tables": [], "ratios": ratios}))
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


def test_machines_that_differ_are_told_apart(report: ModuleType, results: Path) -> None:
    one = "A, 2 cores, 3 threads; Python 3, torch 2, NumPy 1"
    assert report.machines() == f"\nMeasured on {one}.\n"
    other = {"machine": MACHINE | {"processor": "B"}, "tables": [], "ratios": []}
    (results / "looks-cpu.json").write_text(json.dumps(other))
    expected = f"{one} (quantize-cpu, quality-cpu); and on {one.replace('A', 'B', 1)} (looks-cpu)"
    assert report.machines() == f"\nMeasured on {expected}.\n"


def test_tables_are_those_of_the_results(report: ModuleType) -> None:
    assert all(part().count("\n") > 2 for part in report.PARTS.values())  # a heading, a rule and more
    assert report.readme() == report.README.read_text()
    assert "gpuquant, effort=best" in report.README.read_text()


def test_plots_are_those_of_the_results(report: ModuleType) -> None:
    for name in report.PLOTS:
        with Image.open(report.PICTURES / f"{name}.png") as plot:
            assert plot.info[report.DIGEST] == report.digest(), name
