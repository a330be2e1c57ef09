"""The wheel has all that the package needs: installed without the checkout, it does the main job."""

import ast
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import Pixels
from PIL import Image

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}  # by the names that are imported, where they differ
SUFFIXES = (".py", ".npy", ".html", ".css", ".js")
LENT = {"triton"}  # comes with torch for CUDA
PEERS = ("peers.py", "programs.py")  # import what it compares with, where that is installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*build, "--constraint", str(ROOT / "constraints.txt")], check=True)
    (found,) = folder.glob("gpuquant-*.whl")
    return found


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "gpuquant").rglob("*") if path.suffix in SUFFIXES}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert here | {"gpuquant/py.typed"} == {name for name in names if name.startswith("gpuquant/")}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_asks_for_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        lines = archive.read(name).decode().splitlines()
    asked = {line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")}
    assert {one for one in asked if "extra ==" not in one} == set(needed())


def test_what_is_imported_is_what_is_needed() -> None:
    found = set()
    for path in (ROOT / "gpuquant").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and path.name not in PEERS:
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and path.name not in PEERS:
                found.add(node.module.partition(".")[0])
    others = found - set(sys.stdlib_module_names) - {"gpuquant"} - LENT
    assert {DISTRIBUTIONS.get(name, name) for name in others} == {one.partition(">")[0] for one in needed()}


def needed() -> list[str]:
    found: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return found


def test_the_oldest_versions_are_the_lowest_that_are_allowed() -> None:
    """pyproject.toml and constraints-oldest.txt, which scripts/test_oldest.sh tests with."""
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    lowest = dict(one.split(">=") for one in needed())
    assert pinned.keys() == lowest.keys()
    for name, version in pinned.items():
        assert version.split(".")[: lowest[name].count(".") + 1] == lowest[name].split("."), name
        assert set(version.split(".")[lowest[name].count(".") + 1 :]) <= {"0"}, name


def test_the_wheel_does_the_main_job(wheel: Path, china: Pixels, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    python = str(scripts / "python")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    (site / "dependencies.pth").write_text(
        sysconfig.get_path("purelib")
    )  # where the wheel's are, without this checkout

    Image.fromarray(china).save(tmp_path / "photo.png")
    code = "import gpuquant; print(gpuquant.__file__)"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert found.startswith(str(site))
    command = [str(scripts / "gpuquant"), "quantize", "photo.png", "out.png", "-k", "5", "--dither", "blue-noise"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (china.shape[1], china.shape[0])
