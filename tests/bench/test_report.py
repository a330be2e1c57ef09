"""The tables and plots of both pages are those of the stored results; tables from results worked out by hand."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from gpuquant.bench.peers import quantizers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
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
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "report", raising=False)  # tests of gpuquant.report have that name, too
    return importlib.import_module("report")


@pytest.fixture
def tables(report: ModuleType) -> ModuleType:
    found: ModuleType = sys.modules["tables"]
    return found


@pytest.fixture
def leading(report: ModuleType) -> ModuleType:
    found: ModuleType = report.leading
    return found


@pytest.fixture
def results(report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report.stored, "RESULTS", tmp_path)
    large = [row("gpuquant", [3.0, 1.0, 2.0], 2_000_000, 10.26, peak=90.0), row("b", [], 2_000_000, 0.0)]
    large += [row("c, d", [1.0], 2_000_000, 20.52, peak=45.0), row("e", [3.0], 2_000_000, 5.13, peak=100.0)]
    small = [row("b", [0.25], 1_000_000, 7.0), row("gpuquant", [0.025], 1_000_000, 7.0)]
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
def test_ours_is_bold_and_what_is_missing_is_said(tables: ModuleType) -> None:
    (found,) = tables.tables("peers", photo="china.jpg, 13MP")
    assert tables.section("china.jpg", found, ("MP/s", "first s", "PSNR dB", "colors")).splitlines() == [
        "",
        "**china.jpg, 2.0 megapixels, K = 8**",
        "",
        "|  | s | from-to | runs | / gpuquant's | peak MB | MSE |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| **gpuquant, 1** | **2.000** | **1.00-3.00** | **3** | **1.00** | **90** | **10.26** |",
        "| c, d, 1 | 1.000 |  | 1 | 0.50 | 45 | 20.52 |",
        "| e, 1 | 3.000 |  | 1 | 1.50 | 100 | 5.13 |",
        "",
        "Without figures: b (stopped).",
    ]


@pytest.mark.usefixtures("results")
def test_what_others_are_better_at(leading: ModuleType) -> None:
    assert leading.everything().splitlines() == [
        "- c (d) is faster with 8 colors at 2 megapixels, at 2 times the MSE.",
        "- e leaves a lower MSE with 8 colors at 2 megapixels, by 50 %.",
        "- With 8 colors less memory is needed by 1 of 2 others at 2 megapixels.",
        "- At 2 megapixels these are c (d) (0.5 of gpuquant's).",
    ]
    assert leading.in_short().replace("\n", " ").split(". ") == [
        "c (d) is faster on it with 8 colors, at 2 times the MSE",
        "e leaves an MSE that is lower by 50 % with 8 colors",
        "Less memory is needed by c (d)",
        "",
    ]


def test_who_is_ahead_on_small_photos_and_in_new_processes(leading: ModuleType, results: Path) -> None:
    small = [row("gpuquant", [0.5], 1_000_000, 7.0, peak=50.0), row("a", [0.25], 1_000_000, 14.0, peak=20.0)]
    main = [row("gpuquant", [1.0], 2_000_000, 7.0), row("a", [2.0], 2_000_000, 7.0)]
    for one, seconds in zip(main, (1.25, 0.5), strict=True):
        one["first_seconds"] = seconds
    tables: list[dict[str, object]] = [
        {"kind": "peers", "photo": f"china.jpg, {size}", "n_colors": 8, "measurements": rows}
        for size, rows in (("1MP", small), ("13MP", main))
    ]
    store(results, "quantize", tables)
    assert leading.in_short().replace("\n", " ").split(". ") == [
        "Faster on smaller photos are a (to 1 MP, 2 times the MSE)",
        "Up to 1 MP most others need less",
        "In a new process imports and a first small photo take 1.2 s, and with others 0.5 s",
        "",
    ]


def test_who_is_ahead_from_the_same_start_and_on_many_problems(leading: ModuleType, results: Path) -> None:
    rows = [row("gpuquant.kmeans", [1.0], 1_000_000, 7.0, peak=2.0), row("a", [0.5], 1_000_000, 7.0, peak=9.0)]
    many = [row("gpuquant.kmeans, one batch", [1.0], 9, 7.0, peak=2.0), row("b, c", [3.0], 9, 7.0, peak=1.0)]
    tables: list[dict[str, object]] = [{"kind": "same start", "photo": "p", "n_colors": 8, "measurements": rows}]
    tables += [
        {"kind": "many problems", "photo": "p", "n_colors": 8, "n_problems": number, "measurements": many}
        for number in (4, 16)
    ]
    store(results, "kmeans", tables)
    assert leading.from_one_start() == [
        "From the same start a is faster than gpuquant.kmeans with 8 colors at 1 megapixel.",
        "b (c) needs less memory for 4 and 16 problems.",
    ]


def test_what_others_are_better_at_in_files(leading: ModuleType, tables: ModuleType, results: Path) -> None:
    told = {
        "gpuquant, a, blue noise": ("0.2", "9", "50"),
        "gpuquant, b, blue noise": ("0.3", "8", "40"),
        "gpuquant, a": ("0.1", "1", "1"),  # not dithered
        "c, d": ("0.4", "7", "25"),
    }
    rows = [
        ratio(f"FLIP, Kodak, 2 photos, K = {n_colors}, {name}", flip, beside=f"MSE {mse}, {size} KB")
        for n_colors in (16, 64)
        for name, (flip, mse, size) in told.items()
    ]
    store(results, "looks", [], *rows)
    halves = "c (d) writes 0.5 times the bytes of gpuquant (a, blue noise) with {} colors, at 2 times the FLIP."
    lower = "c (d) has a lower MSE than all dithered files of gpuquant with 16 and 64 colors."
    assert leading.better_files() == {"c (d)": [halves.format("16 and 64"), lower]}
    assert "Dithered files of c can be smaller or closer" in leading.in_short().replace("\n", " ")
    assert tables.perceived().splitlines()[2:] == [
        "| **gpuquant, a, blue noise** | **0.2; MSE 9, 50 KB** | **0.2; MSE 9, 50 KB** |",
        "| **gpuquant, b, blue noise** | **0.3; MSE 8, 40 KB** | **0.3; MSE 8, 40 KB** |",
        "| **gpuquant, a** | **0.1; MSE 1, 1 KB** | **0.1; MSE 1, 1 KB** |",
        "| c, d | 0.4; MSE 7, 25 KB | 0.4; MSE 7, 25 KB |",
    ]
    rows[3] |= {"measured": "0.25", "beside": "MSE 70, 50 KB"}
    store(results, "looks", [], *rows)
    closer = "c (d) has a lower perceived error (FLIP) than gpuquant (b, blue noise) with 16 colors."
    lower = "c (d) has a lower MSE than all dithered files of gpuquant with 64 colors."
    assert leading.better_files() == {"c (d)": [halves.format("64"), closer, lower]}


def test_goals_that_are_missed_are_marked(tables: ModuleType) -> None:
    """A goal is what is wanted at most, or at least where more is aimed for."""
    goals = {("1.2", "1 / 0.5"): "1 (missed)", ("1", "1 / 0.5"): "1", ("1.1", "1.2 / 1.4"): "1.2 (missed)"}
    goals |= {("1.3", "1.2 / 1.4"): "1.2", ("0.994", "0.993 / 0.993"): "0.993 (missed)", ("3", ""): ""}
    for (measured, reach), expected in goals.items():
        assert tables.goal(ratio("a", measured, reach)) == expected


def test_samples_on_which_scikit_learn_is_faster(leading: ModuleType, results: Path) -> None:
    told = {"a": "1.25", "b": "0.5", "c": "2"}
    store(results, "estimator", [], *(ratio(f"{name}: time / scikit-learn's", share) for name, share in told.items()))
    sentence = "scikit-learn's KMeans is faster on a (0.80 of the time of ours) and c (0.50 of the time of ours)."
    assert leading.faster_fits() == [sentence]
    assert f"- {sentence}" in leading.everything()


@pytest.mark.usefixtures("results")
def test_seconds_and_errors_by_size(tables: ModuleType) -> None:
    assert tables.sizes(8).splitlines()[3:] == [
        "|  | 1.0 megapixels | 2.0 megapixels |",
        "| --- | ---: | ---: |",
        "| b | 0.25 / 7.0 | - |",
        "| **gpuquant** | **0.025 / 7.0** | **2.00 / 10.3** |",
        "| c, d |  | 1.00 / 20.5 |",
        "| e |  | 3.00 / 5.1 |",
    ]


@pytest.mark.usefixtures("results")
def test_efforts_by_colors(tables: ModuleType) -> None:
    assert tables.efforts().splitlines() == [
        "|  | K = 4 | K = 16 |",
        "| --- | ---: | ---: |",
        "| **gpuquant, best: MSE** | **0.8** | **0.9** |",
        "| **gpuquant, fast: time** | **0.5** |  |",
    ]


@pytest.mark.usefixtures("results")
def test_single_figures(tables: ModuleType) -> None:
    assert tables.ratios("quality", "Kodak, 2 photos, ").splitlines() == [
        "| what | measured | goal | beside it |",
        "| --- | ---: | ---: | --- |",
        "| K = 16, best: MSE / theirs | 0.9 | 1 | x |",
        "| K = 4, best: MSE / theirs | 0.8 | 0.333 (missed) |  |",
        "| K = 4, fast: time of k-means | 0.5 |  |  |",
    ]
    assert tables.ratios("quality", "other, ").splitlines()[::2] == [
        "| what | measured | beside it |",
        "| K = 3: seconds | 7 | y |",
    ]


def test_five_rows_in_short(tables: ModuleType, results: Path) -> None:
    few = [row("gpuquant", [0.5, 0.75, 0.7], 2_000_000, 10.25, peak=99.6)]
    few += [row(tables.SCIKIT_LEARN, [9.0], 2_000_000, 11.0, peak=200.0)]
    many = [row("gpuquant", [1.0], 2_000_000, 3.0, 256), row(tables.SCIKIT_LEARN, [], 2_000_000, 0.0, 256)]
    found: list[dict[str, object]] = [
        {"kind": "peers", "photo": "china.jpg, 13MP", "n_colors": n_colors, "measurements": rows}
        for n_colors, rows in ((256, many), (8, few))
    ]
    store(results, "quantize", found)
    beside = "ours 1.5 s, scikit-learn 30 s (median of 3), 0 labels differ, n_iter 4"
    told = "china_13mp as a JPEG, K = {}, max_iter {}: time / scikit-learn's"
    estimator = [ratio(told.format(8, 5), "9"), ratio(told.format(8, 300), "0.05", beside=beside)]
    store(results, "estimator", [], *estimator, ratio(told.format(64, 300), "9"))
    store(
        results, "batch", [], ratio("6 photos: time of a loop / that of the batch", "2", beside="4 s, 5 MP/s; loop 8 s")
    )
    assert tables.in_short().splitlines() == [
        "| on A, 2 cores | **gpuquant** | beside it |",
        "| --- | ---: | --- |",
        "| a photo of 2.0 megapixels in 8 colors | **0.70 s, MSE 10.2** | scikit-learn's KMeans: 9.00 s, MSE 11.0 |",
        "| the same in 256 colors | **1.00 s, MSE 3.0** | scikit-learn's KMeans: stopped |",
        "| memory for 8 colors, beside the pixels | **100 MB** | scikit-learn's KMeans: 200 MB |",
        "| `KMeans` on its pixels, as a JPEG, 8 clusters | **1.5 s** | scikit-learn's: 30 s; 0 labels differ |",
        "| 6 photos as one batch | **4 s, 5 MP/s** | one after the other: 8 s |",
    ]
    store(results, "batch", [], ratio("6 photos: memory", "2"))
    with pytest.raises(SystemExit, match=r"batch-cpu\.json has 0 figures"):
        tables.in_short()


def test_machines_that_differ_are_told_apart(tables: ModuleType, results: Path) -> None:
    one = "A, 2 cores, 3 threads; Python 3, torch 2, NumPy 1"
    assert tables.machines() == f"\nMeasured on {one}.\n"
    other = {"machine": MACHINE | {"processor": "B"}, "tables": [], "ratios": []}
    (results / "looks-cpu.json").write_text(json.dumps(other))
    expected = f"{one} (quantize-cpu, quality-cpu); and on {one.replace('A', 'B', 1)} (looks-cpu)"
    assert tables.machines() == f"\nMeasured on {expected}.\n"


def test_tables_are_those_of_the_results(report: ModuleType) -> None:
    for path, parts in report.PAGES.items():
        made = [part() for name, part in parts.items() if name != "others"]
        assert all(one.count("\n") > 2 for one in made)  # a heading, a rule and more
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
    for name, (_, panels) in report.PLOTS.items():
        with Image.open(report.PICTURES / f"{name}.png") as plot:
            assert plot.info[report.DRAWN] == report.drawn(panels()), name


@pytest.mark.usefixtures("results")
def test_what_is_drawn(report: ModuleType) -> None:
    """Of each panel the points: medians and errors of what has figures, from small to large."""
    found = json.loads(report.drawn(report.PLOTS["by-size-8"][1]()))
    assert [one["up"] for one in found] == ["seconds", "MSE", "peak MB"]
    expected = {"b": [[1.0, 0.25]], "gpuquant": [[1.0, 0.025], [2.0, 2.0]], "c, d": [[2.0, 1.0]], "e": [[2.0, 3.0]]}
    assert found[0]["points"] == expected
    assert found[2]["points"] == {"gpuquant": [[2.0, 90.0]], "c, d": [[2.0, 45.0]], "e": [[2.0, 100.0]]}
    (at_once,) = json.loads(report.drawn(report.PLOTS["error-against-time"][1]()))
    assert at_once["points"]["gpuquant"] == [[2.0, 10.26]]


@pytest.mark.usefixtures("report")
def test_each_program_has_a_color_and_each_quantizer_a_mark_of_it() -> None:
    looks = importlib.import_module("looks_of_lines")
    shown = [looks.look(one.name) for one in quantizers("cpu")]
    assert len(set(shown)) == len(shown)
    assert len({looks.look(name)[0] for name in ("scikit-learn KMeans(n_init=1)", "scikit-learn MiniBatchKMeans")}) == 1
    for color in {color for color, _ in shown}:
        for page in ("#ffffff", "#0d1117"):
            assert contrast(color, page) > 2.5, (color, page)


def contrast(first: str, second: str) -> float:
    """As WCAG defines it."""

    def luminance(color: str) -> float:
        levels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)
