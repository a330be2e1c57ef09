"""Every script answers --help and refuses what it does not know, and does nothing else then."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import HANGING

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Bash")

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "scripts").iterdir() if path.is_file())
EVERY = [*SCRIPTS, Path("scripts/gpu/run_step.py"), Path("benchmarks/report.py")]  # which can be run, too
KEPT = ("scripts", "gpuquant", "tests", "benchmarks", "README.md", "pyproject.toml", "constraints.txt")
MISSING = [
    ("benchmarks/report.py", "matplotlib", "bench"),
    ("scripts/make_pictures.py", "matplotlib", "bench"),
    ("scripts/sklearn_tests.py", "pytest", "dev"),
    ("scripts/gpu_report.py", "torch", "dev"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what scripts read and write, and a Python for their installations that leaves a file and fails."""
    tree = tmp_path_factory.mktemp("tree")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    (tree / "python").write_text("#!/bin/sh\necho started >>started\nexit 1\n")
    (tree / "python").chmod(0o755)
    return tree


def listing(tree: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tree.rglob("*")}


def started(command: list[str | Path], tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(tree / "python"), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    return subprocess.run(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=HANGING, start_new_session=True,
    )  # fmt: skip


def program(script: Path) -> list[str | Path]:
    """The command that runs a script: Python without any package, or Bash."""
    return [sys.executable, "-S", script] if script.suffix == ".py" else ["bash", script]


def test_help_and_unknown_options_do_nothing(tree: Path) -> None:
    before = listing(tree)
    calls = [(script, option) for script in EVERY for option in ("--help", "-h", "--no-such-option")]
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda call: started([*program(call[0]), call[1]], tree), calls))
    for (script, option), done in zip(calls, ended, strict=True):
        about = f"{script} {option}: {done.returncode} {done.stdout} {done.stderr}"
        if option == "--no-such-option":
            assert (done.returncode, done.stdout) == (2, ""), about
            assert script.parent.name == "gpu" or done.stderr.count("\n") == 1, about
        else:
            assert (done.returncode, done.stderr) == (0, ""), about
            assert done.stdout.startswith("usage: "), about
            assert f"{script}" in done.stdout.partition("Example: ")[2], about
            assert done.stdout.count("\n") < 40, about
    assert listing(tree) == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["setup.sh", "no-such-extra"], "there is no extra 'no-such-extra', but bench, bench-cuda, dev"),
        (["setup.sh", "--", "-dev"], "there is no extra '-dev'"),
        (["setup.sh", "dev", "bench"], "one extra at a time"),
        (["quickstart.sh", "a.jpg", "b.jpg"], "one photo at a time"),
    ],
)
def test_what_else_is_refused(arguments: list[str], problem: str, tree: Path) -> None:
    before = listing(tree)
    done = started(["bash", f"scripts/{arguments[0]}", *arguments[1:]], tree)
    assert done.returncode == 2
    assert problem in done.stderr
    assert listing(tree) == before


def test_what_is_known_is_done(tree: Path) -> None:
    """An installation begins with asking Python for its version, so that the tests above would see one."""
    done = started(["bash", "scripts/setup.sh", "dev"], tree)
    assert (done.returncode, (tree / "started").exists()) == (1, True)
    (tree / "started").unlink()


def test_what_follows_two_dashes_is_no_option(tree: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"set -euo pipefail\nsource '{tree}/scripts/parts/options.sh'\nprintf '<%s>' $# \"$@\"\n")
    assert started(["bash", script, "a b", "--", "-k", "c d", "--help"], tree).stdout == "<4><a b><-k><c d><--help>"
    assert started(["bash", script], tree).stdout == "<0>"


def test_an_extra_that_is_missing_is_named(tree: Path, tmp_path: Path) -> None:
    before = listing(tree)

    def without(script: str, module: str, _: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / script
        folder.mkdir(parents=True)
        raising = f"raise ModuleNotFoundError('No module named {module}', name='{module}')\n"
        (folder / f"{module}.py").write_text(raising)
        return started([sys.executable, script], tree, PYTHONPATH=str(folder))

    with ThreadPoolExecutor(len(MISSING)) as pool:
        ended = list(pool.map(without, *zip(*MISSING, strict=True)))
    for (script, module, extra), done in zip(MISSING, ended, strict=True):
        assert (done.returncode, done.stdout) == (1, ""), script
        (line,) = done.stderr.splitlines()
        assert module in line
        assert line.endswith(f"scripts/setup.sh {extra} installs what this needs")
    assert listing(tree) == before
