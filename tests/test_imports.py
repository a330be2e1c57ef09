"""Imports point strictly downward from room to room, never in a circle; and an import costs little."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import script

import gpuquant

HOUSE = script("parts/house")
LAYER: dict[str, int] = HOUSE.LAYER
NAMES: dict[str, Path] = HOUSE.MODULES
imports_of: Callable[[Path], set[str]] = HOUSE.imports_of
modules_imported_by: Callable[[str], set[str]] = HOUSE.modules_imported_by
PILLOW = {  # modules beside `images` and `palettes`
    "batch.listing",  # endings of photos
    "bench.measuring",
    "bench.peers",
    "bench.programs",
    "cli.info_command",  # its version
    "colors.names",  # CSS's names
    "quantization.result",  # the type of a picture
    "report.thumbnails",
}


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_downward(name: str) -> None:
    room = name.split(".")[0]
    for imported in modules_imported_by(name):
        below = imported.split(".")[0]
        assert below == room or LAYER[below] < LAYER[room], f"{name} imports {imported}"
        assert below != "ops" or room == "ops" or imported == "ops", f"{name} imports {imported}, and not `ops`"


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: modules_imported_by(name) for name in NAMES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_the_house_is_as_it_is_drawn() -> None:
    assert {name.split(".")[0] for name in NAMES} == set(LAYER)
    assert set(NAMES) >= PILLOW


@pytest.mark.parametrize(
    ("library", "is_home"),
    [
        ("PIL", lambda name: name.split(".")[0] in ("images", "palettes") or name in PILLOW),
        ("sklearn", lambda name: name.split(".")[0] in ("bench", "estimator")),
        ("triton", lambda name: name.startswith("ops.") and name.split(".")[-1].startswith("cuda")),
        ("numba", lambda name: name == "ops.compiled"),
        ("typer", lambda name: name.split(".")[0] == "cli"),
        ("jinja2", lambda name: name == "report.page"),
    ],
)
def test_libraries_stay_in_their_rooms(library: str, is_home: Callable[[str], bool]) -> None:
    users = [name for name, path in NAMES.items() if any(one.split(".")[0] == library for one in imports_of(path))]
    assert users
    assert [name for name in users if not is_home(name)] == []


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import contextlib, sys, gpuquant.cli.app
sys.argv = ["gpuquant", "--help"]
with contextlib.suppress(SystemExit):
    gpuquant.cli.app.main()
"""


def test_importing_the_package_is_light() -> None:
    heavy = {"torch", "numpy", "numba", "sklearn", "PIL", "triton", "fsspec", "jinja2"}
    assert not loaded_by("import gpuquant") & {*heavy, "typer"}
    assert not loaded_by("import gpuquant.cli.app") & heavy
    assert not loaded_by(HELP) & heavy
    assert "torch" in loaded_by("import gpuquant; gpuquant.quantize")


def test_scikit_learn_is_needed_by_the_estimator_alone() -> None:
    names = [name for name in gpuquant.__all__ if name != "KMeans"]
    loaded = loaded_by(f"import gpuquant\nfor name in {names}: getattr(gpuquant, name)")
    assert not loaded & {"sklearn", "triton", "numba", "jinja2"}


def test_the_estimator_stands_without_that_of_scikit_learn() -> None:
    code = "import gpuquant, numpy as np; gpuquant.KMeans(2).fit(np.eye(5)).predict(np.eye(5))"
    loaded = loaded_by(code)
    assert "sklearn.base" in loaded
    assert not {name for name in loaded if name.startswith("sklearn.cluster")}


def test_no_module_takes_the_place_of_a_public_name() -> None:
    modules = [f"gpuquant.{name}" for name in NAMES if name != "__main__"]
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
