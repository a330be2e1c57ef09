"""README.md and benchmarks/README.md: each block of code runs, in order, in a folder with photos of the names in it.

Links, pictures and rooms are there, and the first page is short.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pixels
from PIL import Image

ROOT = Path(__file__).parents[2]
README, BENCHMARKS = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
PAGES = (README, BENCHMARKS)
PHOTOS = ("photo.jpg", "other.jpg", "a.jpg", "b.jpg", "c.jpg", "holiday/a.jpg", "holiday/b.jpg", "more/photo.jpg")
MOST_LINES, MOST_LETTERS = 200, 130
NOT_RUN_HERE = (  # with what runs them
    "gpuquant bench ",  # test_bench.py
    "gpuquant batch --cluster ",  # test_cluster.py
    "scripts/",  # test_scripts.py
    ".venv/bin/pytest benchmarks ",  # test_bench.py
    ".venv/bin/python benchmarks/report.py",  # test_report.py
    ". .venv/bin/activate",
)


def blocks(language: str) -> list[str]:
    return [block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(china: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for name in PHOTOS:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(china).save(folder / name)
    return folder


def lines() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines()]


def commands() -> list[str]:
    return [line for line in lines() if not line.startswith(NOT_RUN_HERE)]


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
    assert len(commands()) >= 12
    assert failures == {}


@pytest.mark.usefixtures("failures")  # of commands that write what it reads
def test_python(folder: Path) -> None:
    assert len(blocks("python")) >= 3
    code = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("china-8.png", "both.png", "error.png", "photo.ase", "c.png"):
        assert (folder / name).stat().st_size > 0, name


def test_every_block_is_run_by_a_test() -> None:
    languages = re.findall(r"^```(\w*)\n", "".join(page.read_text() for page in PAGES), re.MULTILINE)
    assert len(blocks("bash")) + len(blocks("python")) == len([one for one in languages if one])
    assert all(line.startswith(("gpuquant ", *NOT_RUN_HERE)) for line in lines())


def test_scripts_are_there() -> None:
    named = [line.split()[0] for line in lines() if line.startswith("scripts/")]
    named += [name for page in PAGES for name in re.findall(r"`(?:python )?(scripts/[\w/.]+)[^`]*`", prose(page))]
    assert {"scripts/quickstart.sh", "scripts/test.sh", "scripts/gpu_report.py"} <= set(named)
    for name in named:
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(bench_\w+\.py)`", BENCHMARKS.read_text()):
        assert name == "bench_NAME.py" or (BENCHMARKS.parent / name).is_file(), name


def anchors(page: Path) -> set[str]:
    """The names that a link may have after "#": GitHub's short forms of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=["README", "benchmarks"])
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https://)([^)#]*)#?([^)]*)\)", prose(page))
    assert len(links) > 5
    for name, anchor in links:
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"!\[[^]]+\]\((.+?)\)", page.read_text())
    }
    assert shown == {path for path in (ROOT / "benchmarks" / "pictures").iterdir() if path.is_file()}


def test_rooms_of_the_map_are_there() -> None:
    rooms = [path for path in (ROOT / "gpuquant").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    named = set(re.findall(r"`(gpuquant/[\w./]+)`", README.read_text()))
    assert named == {f"gpuquant/{path.name}" for path in rooms if not path.name.startswith("__")}


def test_the_first_page_is_short_and_begins_with_a_command() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert text.index("\n```bash\n") < text.index("CUDA")
    for page in PAGES:
        wide = [line for line in page.read_text().splitlines() if len(line) > MOST_LETTERS]
        assert [line for line in wide if not line.startswith(("|", "![", "Measured on "))] == []
