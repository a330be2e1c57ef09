"""Compiled loops: what is kept on disk is right, and what goes wrong there is no error."""

import ast
import builtins
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import script

from gpuquant.ops import compiled as compiled_loops
from gpuquant.ops.compiled import compiled, written_out

pytest.importorskip("numba")
from numba.core import caching, config

PACKAGE: Path = script("parts/house").PACKAGE
NOTICE = "gpuquant: compiling loops for this machine, once\n"


def triple(number: float) -> float:
    return 3 * number


def decorated(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Name) and one.id in ("compiled", "written_out") for one in node.decorator_list)
    ]


def strangers(source: str) -> set[str]:
    """Names that compiled functions use, and that are neither of files of `ops` nor of NumPy."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        own |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gpuquant.ops."):
            own |= {name.asname or name.name for name in node.names}
    found: set[str] = set()
    for function in decorated(tree):
        names = [name for line in function.body for name in ast.walk(line) if isinstance(name, ast.Name)]
        local = {name.id for name in names if isinstance(name.ctx, ast.Store)} | {
            argument.arg for argument in function.args.args
        }
        found |= {name.id for name in names} - local - own - set(dir(builtins)) - {"np", "math"}
    return found


def test_compiled_functions_use_files_of_operations_alone() -> None:
    """What is kept on disk is taken as long as these are the same, and others may have changed."""
    files = [path for path in PACKAGE.rglob("*.py") if decorated(ast.parse(path.read_text()))]
    assert len(files) > 1
    for path in files:
        assert path.is_relative_to(PACKAGE / "ops")
        assert strangers(path.read_text()) == set(), path
    source = "from a import b, C\nfrom gpuquant.ops.d import e\n@compiled\ndef f(x):\n    b(x, C, e, np.pi)\n"
    assert strangers(source) == {"b", "C"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which compiled functions are kept."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def begin_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is a terminal, and nothing was said on it."""
    monkeypatch.setattr(compiled_loops, "_tell_of_compiling", compiled_loops._Notice())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def entry(values: Any, place: int) -> Any:
    return values[place]


def test_a_terminal_is_told_once_that_loops_are_compiled(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_on_a_terminal(monkeypatch)
    for _ in range(2):
        made: Any = compiled(triple)
        assert (made(1), made(1.5)) == (3, 4.5)
        assert made.stats.cache_path
    assert capsys.readouterr().err == NOTICE
    begin_on_a_terminal(monkeypatch)
    again: Any = compiled(triple)
    assert again(1) == 3
    assert capsys.readouterr().err == ""  # it was there


def test_loops_that_check_indices_are_kept_apart(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, hits = np.arange(3), []
    for checked in (0, 1, 0, 1):
        monkeypatch.setattr(config, "BOUNDSCHECK", checked)
        made: Any = compiled(entry)
        assert made(values, 2) == 2
        hits.append(sum(made.stats.cache_hits.values()))
        if checked:
            with pytest.raises(IndexError):
                made(values, 9)
    assert hits == [0, 0, 1, 1]


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_files_are_compiled_anew(kept: Path, ending: str, damage: bytes | None) -> None:
    for _ in range(2):
        made: Any = compiled(triple)
        assert made(4) == 12
        (path,) = kept.rglob(f"*{ending}")
        path.write_bytes(path.read_bytes()[:99] if damage is None else damage)


def run(code: str, folder: Path) -> str:
    """Run code in a new process that imports the package in the folder, and keeps its loops there."""
    given = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, env=os.environ | given
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_changed_loop_is_seen_and_processes_may_compile_at_once(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "gpuquant", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import torch
from gpuquant import ops
from gpuquant.ops.pixels import cpu_counting
cpu_counting.FEW_PIXELS = 0
counts = ops.count_colors(torch.zeros(4, 3, dtype=torch.uint8))[1]
print(counts.tolist(), ops.take(counts.to(torch.{kind}), torch.zeros(1, dtype=torch.int32)).tolist())
"""
    codes = [code.format(kind=kind) for kind in ("int32", "float64")]  # types that Numba may write to one file
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, codes, [tmp_path] * 2)) == ["[4] [4]\n", "[4] [4.0]\n"]
    path = tmp_path / "gpuquant" / "ops" / "pixels" / "cpu_counting.py"
    changed = path.read_text().replace("count += np.int64(bins[table, key])", "count += 2 * np.int64(bins[table, key])")
    assert changed != path.read_text()
    assert run("".join(codes), tmp_path) == "[4] [4]\n[4] [4.0]\n"
    path.write_text(changed)
    assert run(codes[0], tmp_path) == "[8] [8]\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "after"),
    [
        ("pixels/cpu_keys.py", "return SPREAD[0, rows", "return 1 + SPREAD[0, rows", "[1]\n"),  # a function
        (
            "pixels/cpu_keys.py",
            "SPREAD << 1, SPREAD << 2]",
            "SPREAD << 1, SPREAD << 2]) + np.int32([[1], [0], [0]]",
            "[1]\n",
        ),
        ("pixels/reference.py", '"""', '"""In other words: ', "[0]\n"),
    ],
)
def test_a_change_of_another_file_is_seen(tmp_path: Path, file: str, old: str, new: str, after: str) -> None:
    """A loop holds the code of the functions that it calls, and the numbers of tables, wherever these are from."""
    shutil.copytree(PACKAGE, tmp_path / "gpuquant", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "gpuquant" / "ops" / file
    code = """
import torch
from gpuquant import ops
from gpuquant.ops.pixels import cpu_counting
print(ops.count_colors(torch.zeros(4, 3, dtype=torch.uint8))[0].tolist())
print(sum(cpu_counting._count_rows.stats.cache_hits.values()))
"""
    assert [run(code, tmp_path) for _ in range(2)] == ["[0]\n0\n", "[0]\n1\n"]
    kept = set((tmp_path / "kept").rglob("*.nb?"))
    changed = path.read_text().replace(old, new, 1)
    assert changed != path.read_text()
    path.write_text(changed)
    assert run(code, tmp_path) == after + "0\n"
    assert set((tmp_path / "kept").rglob("*.nb?")) == kept  # what is of no use any more is written over


def test_files_in_an_archive_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for path in PACKAGE.rglob("ops/**/*.py"):
            archive.write(path, path.relative_to(PACKAGE))
    folder = zipfile.Path(tmp_path / "some.zip", "ops/")
    assert list(compiled_loops._sources(folder)) == list(compiled_loops._sources(PACKAGE / "ops"))


def test_nothing_is_kept_where_files_cannot_be_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_loops, "_stamp_of_all", fail)
    for _ in range(2):
        made: Any = compiled(triple)
        assert made(4) == 12
        assert not made.stats.cache_hits
    assert not list(kept.rglob("*.nb?"))


def test_arrays_can_be_made(kept: Path) -> None:
    def numbers(n: int) -> Any:
        made = np.zeros(n, np.int64)
        for place in range(n):
            made[place] = place
        return made

    assert compiled(numbers)(3).tolist() == [0, 1, 2]


def test_functions_are_written_out_where_they_are_called(kept: Path) -> None:
    def half(number: float) -> float:
        if number < 0:
            return 0.0
        return number / 2

    part: Any = written_out(half)

    def halves(number: float) -> Any:
        return part(number) + part(-number)

    made: Any = compiled(halves)
    assert made(6.0) == made(-6.0) == 3.0
    assert part.signatures == []  # not compiled by itself
    assert (part(6), part(-6)) == (3.0, 0.0)


@pytest.mark.parametrize("is_on", [True, False])
def test_no_garbage_is_looked_for_while_a_loop_is_compiled(
    kept: Path, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = compiled(triple)
    states: list[bool] = []
    monkeypatch.setattr(made._cache, "save_overload", lambda *_: states.append(gc.isenabled()))
    monkeypatch.setattr(made._cache, "load_overload", lambda *_: states.append(gc.isenabled()))
    was_on = gc.isenabled()
    try:
        gc.enable() if is_on else gc.disable()
        assert made(4) == 12
        assert gc.isenabled() == is_on
        with pytest.raises(TypeError):
            made("4", "5")
        assert gc.isenabled() == is_on
    finally:
        gc.enable() if was_on else gc.disable()
    assert states == [False, False]


@pytest.mark.slow
def test_little_is_compiled_for_a_first_photo(tmp_path: Path) -> None:
    """Each loop is compiled once, and brings little of Numba's own code along, as strings or whole arrays would."""
    code = """
import numpy as np, gpuquant
from numba.core import event
class Names(event.Listener):
    def on_start(self, found): names.append(found.data["dispatcher"].py_func)
    def on_end(self, found): pass
names = []
event.register("numba:compile", Names())
image = np.random.RandomState(0).randint(0, 256, (300, 200, 3)).astype(np.uint8)
gpuquant.quantize(image, 16)
gpuquant.quantize(image, 64, effort="best")
for one in names: print(one.__module__, one.__qualname__)
"""
    (tmp_path / "gpuquant").symlink_to(PACKAGE)
    names = run(code, tmp_path).splitlines()
    own = [name for name in names if name.startswith("gpuquant.")]
    assert len(set(own)) == len(own) > 20
    assert len(names) - len(own) < 10


def fail(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_no_folder_can_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    made: Any = compiled(triple)
    assert made(4) == 12
    assert made.py_func is triple
    assert made.nopython_signatures


@pytest.mark.parametrize("name", ["save", "load"])
def test_the_disk_fails_later(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.IndexDataCacheFile, name, fail)
    made: Any = compiled(triple)
    assert made(4) == 12
    assert made.nopython_signatures


def test_the_file_of_another_type_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    first: Any = compiled(triple)
    assert first(1.5) == 4.5
    other = first.overloads[first.signatures[0]]
    monkeypatch.setattr(caching.Cache, "_load_overload", lambda *_: other)
    second: Any = compiled(triple)
    assert second(4) == 12


def test_a_terminal_is_told_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    begin_on_a_terminal(monkeypatch)
    made: Any = compiled(triple)
    assert (made(4), made(4.5)) == (12, 13.5)
    assert capsys.readouterr().err == "gpuquant: compiling loops anew, as no folder can be written to that keeps them\n"


def test_it_is_said_what_runs() -> None:
    import numba

    assert compiled_loops.loops_in_use() == f"compiled by Numba {numba.__version__}"
    code = """
import sys, warnings
sys.modules["numba"] = None
warnings.simplefilter("always")
import numpy as np, gpuquant
from gpuquant.ops import loops_in_use
for _ in range(2):
    gpuquant.quantize(np.zeros((3, 3, 3), np.uint8), 2)
print(loops_in_use())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("plain torch, as Numba cannot be imported")
    assert done.stderr.count("Numba cannot be imported") == 1
    assert done.stderr.startswith("<string>:8: UserWarning")  # the caller's line
    assert "pip install --force-reinstall numba" in done.stderr


def test_without_compiling_plain_torch_runs() -> None:
    code = """
import warnings
warnings.simplefilter("always")
import numpy as np, gpuquant
from gpuquant.ops import loops_in_use
print(gpuquant.quantize(np.arange(27, dtype=np.uint8).reshape(3, 3, 3), 2).palette.hex)
print(loops_in_use())
"""
    plain, compiled_ones = (
        subprocess.run([sys.executable, "-c", code], env=os.environ | given, capture_output=True, text=True, check=True)
        for given in ({"NUMBA_DISABLE_JIT": "1"}, {})
    )
    first, second = plain.stdout.splitlines()
    assert first == compiled_ones.stdout.splitlines()[0]
    assert second == "plain torch, as Numba does not compile, as NUMBA_DISABLE_JIT is set; unset it"
    assert plain.stderr.count("takes much longer; unset it") == 1


def test_an_interrupt_waits_for_the_end_of_compiling() -> None:
    ended: list[bool] = []

    def compile_slowly() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        ended.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            compiled_loops._undisturbed(compile_slowly)()
        assert ended == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
