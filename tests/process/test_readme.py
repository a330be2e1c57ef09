"""Every block of code in README.md runs, in order, in a folder with photos of the names that it uses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pixels
from PIL import Image

README = Path(__file__).parents[2] / "README.md"
PHOTOS = ("photo.jpg", "other.jpg", "a.jpg", "b.jpg", "c.jpg", "holiday/a.jpg", "holiday/b.jpg", "more/photo.jpg")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(china: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for name in PHOTOS:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(china).save(folder / name)
    return folder


def commands() -> list[str]:
    """All but the comparison, which takes long and has tests of its own."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("gpuquant ") and not line.startswith("gpuquant bench ")]


@pytest.fixture(scope="module")
def failures(folder: Path) -> dict[str, str]:
    """Run every command in a shell, in order: those that make files come before those that read them."""
    found = {}
    path = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=path, capture_output=True, text=True, check=False
        )
        target = re.search(r" > (\S+)", command)
        if done.returncode or (target and not (folder / target[1]).stat().st_size):
            found[command] = done.stderr
    return found


def test_commands(failures: dict[str, str]) -> None:
    assert len(commands()) >= 8
    assert failures == {}


@pytest.mark.usefixtures("failures")  # of commands that write what it reads
def test_python(folder: Path) -> None:
    assert len(blocks("python")) >= 4
    code = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("china-8.png", "both.png", "error.png", "clusters.png", "c.png", "photo.ase"):
        assert (folder / name).stat().st_size > 0, name


def test_scripts_are_there() -> None:
    lines = [line.split()[0] for block in blocks("bash") for line in block.splitlines() if line.startswith("scripts/")]
    assert {"scripts/quickstart.sh", "scripts/test.sh"} <= set(lines)
    for line in lines:
        assert (README.parent / line).is_file()


def test_pictures_and_rooms_of_the_map_are_there() -> None:
    text, root = README.read_text(), README.parent
    for name in re.findall(r"!\[[^]]*\]\((.+?)\)", text):
        assert (root / name).is_file(), name
    rooms = [path for path in (root / "gpuquant").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    named = set(re.findall(r"`(gpuquant/[\w./]+)`", text))
    assert named == {f"gpuquant/{path.name}" for path in rooms if not path.name.startswith("__")}
