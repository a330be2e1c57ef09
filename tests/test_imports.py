"""Who may import whom: strictly downward, never within a row; and what an import may cost."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import gpuquant

PACKAGE = Path(gpuquant.__file__).parent
ROWS = [
    [
        "cli_words",
        "color_name_list",
        "errors",
        "palette_html",
        "image_libtiff",
        "ops.color_codes",
        "ops.run_status",
        "ops.transfers",
    ],
    [
        "arguments",
        "cli_options",
        "color_spaces",
        "devices",
        "batch_threads",
        "files",
        "image_avif",
        "image_directories",
        "image_guard",
        "image_heif",
        "image_jpeg",
        "levels",
        "image_png",
        "image_profiles",
        "image_samples",
        "image_words",
        "ops.compiled_loops",
        "ops.torch_ops",
        "ops.triton_probe",
        "triangulation",
        "ops.nearest_table",
        "ops.tile_scores",
        "ops.running_sums",
        "ops.triton_draws",
        "ops.triton_lloyd",
    ],
    [
        "cli_info",
        "color_names",
        "image_alpha",
        "image_arrays",
        "image_colors",
        "image_conversion",
        "image_raw",
        "image_turning",
        "ops.cpu_mixture_order",
        "ops.cpu_ops",
        "ops.kernel_lloyd",
        "ops.triton_seeding",
    ],
    ["image_note", "image_sources", "ops.color_blocks", "ops.color_cells", "ops.cpu_mixing", "palette_entries"],
    ["batch_passed_over", "cli_photo", "ops.color_seeding"],
    ["ops.candidate_lists", "ops.triton_ops"],
    ["ops.kernel_choice", "ops.error_diffusion"],
    ["ops.color_lloyd", "ops.cpu_dense", "ops.cpu_dither", "ops.pixel_chunks", "ops.torch_dither"],
    ["ops.dense_points", "ops.dense_seeding"],
    ["ops.dense"],
    ["ops"],
    ["breathing", "initialization", "histogram", "lloyd"],
    ["clustering", "hull_projection", "mapping", "level_pixels"],
    [
        "alpha_colors",
        "comparison",
        "image_reading",
        "image_writing",
        "palette_fit",
        "palette_text_formats",
        "estimator_samples",
    ],
    [
        "counted_photo",
        "estimator_fit",
        "metrics",
        "mixtures",
        "palette_application",
        "palette_batch",
        "palette_binary_formats",
        "palette_pictures",
        "photo_loading",
        "space_fit",
    ],
    ["alpha_fit", "palette_formats"],
    ["palette_search", "palette_values"],
    ["palette"],
    [
        "batch_outcome",
        "batch_plan",
        "dithering",
        "palette_files",
        "palette_order",
        "palette_parsing",
    ],
    ["result_options"],
    ["batch_existing", "quantized_image"],
    ["image_steps"],
    ["quantization", "estimator"],
    ["batch_job", "benchmark_peers"],
    ["batch", "benchmark", "cli_batch_progress", "cli_output"],
    ["cli_batch", "cli_bench", "cli_palette", "cli_quantize"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}
KERNELS = {"ops.kernel_lloyd", "ops.triton_draws", "ops.triton_lloyd", "ops.triton_ops", "ops.triton_probe"}
KERNELS |= {"ops.triton_seeding"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports anywhere, with "from gpuquant import ops" as gpuquant.ops."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name} imports relatively"
            inside = node.module in ("gpuquant", "gpuquant.ops")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if inside else {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    for imported in imports_of(path):
        if imported.startswith("gpuquant.") and imported != "gpuquant.__version__":
            assert RANK[imported.removeprefix("gpuquant.")] < RANK[name_of(path)], f"{name_of(path)} imports {imported}"


def test_every_module_has_a_row() -> None:
    assert {name_of(path) for path in MODULES} == set(RANK)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        (
            "PIL",
            {
                "batch_plan",
                "benchmark",
                "benchmark_peers",
                "color_names",
                "image_alpha",
                "image_conversion",
                "image_guard",
                "image_heif",
                "image_libtiff",
                "image_reading",
                "image_samples",
                "image_sources",
                "image_turning",
                "image_words",
                "image_writing",
                "comparison",
                "palette_pictures",
                "photo_loading",
                "quantized_image",
                "cli_info",
            },
        ),
        ("sklearn", {"benchmark", "benchmark_peers", "estimator"}),
        (
            "triton",
            KERNELS,
        ),
        ("typer", {"cli", "cli_batch", "cli_bench", "cli_options", "cli_palette"}),
    ],
)
def test_libraries_stay_in_their_rooms(library: str, homes: set[str]) -> None:
    users = {name_of(path) for path in MODULES if any(name.split(".")[0] == library for name in imports_of(path))}
    assert users == homes


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_is_light() -> None:
    heavy = {"torch", "numpy", "sklearn", "PIL", "triton", "typer"}
    assert not loaded_by("import gpuquant") & heavy
    assert not loaded_by("import gpuquant.cli.app") & (heavy - {"typer"})
    assert "torch" in loaded_by("import gpuquant; gpuquant.quantize")


def test_scikit_learn_is_needed_by_the_estimator_alone() -> None:
    names = [name for name in gpuquant.__all__ if name != "KMeans"]
    loaded = loaded_by(f"import gpuquant\nfor name in {names}: getattr(gpuquant, name)")
    assert not loaded & {"sklearn", "triton"}


def test_the_estimator_stands_without_that_of_scikit_learn() -> None:
    code = "import gpuquant, numpy as np; gpuquant.KMeans(2).fit(np.eye(5)).predict(np.eye(5))"
    loaded = loaded_by(code)
    assert "sklearn.base" in loaded
    assert not {name for name in loaded if name.startswith("sklearn.cluster")}


def test_no_module_takes_the_place_of_a_public_name() -> None:
    modules = [f"gpuquant.{name_of(path)}" for path in MODULES if name_of(path) != "__main__"]
    code = f"""
import importlib, types
for name in {modules!r}: importlib.import_module(name)
import gpuquant
for name in gpuquant.__all__:
    value = getattr(gpuquant, name)
    assert not isinstance(value, types.ModuleType) and value.__name__ == name, name
"""
    loaded_by(code)


def test_public_names_are_listed() -> None:
    assert set(gpuquant.__all__) <= set(dir(gpuquant))
    with pytest.raises(AttributeError, match="nothing_here"):
        importlib.import_module("gpuquant").nothing_here  # noqa: B018
