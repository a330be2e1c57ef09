"""Loops of the package in processes of their own: what is kept of them goes with all files that they are made of."""

import ast
import builtins
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import script

from gpuquant.ops import compiled as compiled_loops

pytest.importorskip("numba")

PACKAGE: Path = script("parts/house").PACKAGE
LIBRARIES = {"enum", "math", "numpy", "typing"}  # that functions and tables may use


def decorated(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Name) and one.id in ("compiled", "written_out") for one in node.decorator_list)
    ]


def names_in(*nodes: ast.AST) -> set[str]:
    """Names that are read, and neither arguments nor written in the same place."""
    within = [node for top in nodes for node in ast.walk(top)]
    names = [node for node in within if isinstance(node, ast.Name)]
    local = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    local |= {node.arg for node in within if isinstance(node, ast.arg)}
    return {name.id for name in names} - local


def defined(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The statements that a name of a module comes from."""
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        names: set[str] = set()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = {node.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        for name in names:
            found.setdefault(name, []).append(node)
    return found


def strangers(module: str, sources: dict[str, str]) -> set[str]:
    """Names that compiled functions use, however indirectly, and that neither these sources nor libraries define."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    statements = {name: defined(tree) for name, tree in trees.items()}
    waiting = [
        (module, name) for function in decorated(trees[module]) for name in names_in(function.args, *function.body)
    ]
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen:
            continue
        seen.add((module, name))
        if name not in statements[module] and not hasattr(builtins, name):
            found.add(name)
        for node in statements[module].get(name, []):
            if isinstance(node, ast.ImportFrom) and node.module in sources:
                waiting += [(node.module, alias.name) for alias in node.names if name in (alias.asname, alias.name)]
            elif isinstance(node, ast.Import | ast.ImportFrom):
                origins = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                found |= {name} if {origin.partition(".")[0] for origin in origins} - LIBRARIES else set()
            elif isinstance(node, ast.FunctionDef):
                waiting += [(module, other) for other in names_in(node.args, *node.body)]
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                waiting += [(module, other) for other in (names_in(node.value) if node.value else ())]
            else:
                waiting += [(module, other) for other in names_in(node)]
    return found


def sources_of_operations() -> dict[str, str]:
    paths = {path.relative_to(PACKAGE.parent).with_suffix(""): path for path in (PACKAGE / "ops").rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path.read_text() for name, path in paths.items()}


def test_compiled_functions_use_files_of_operations_alone() -> None:
    """Loops kept on disk are taken as long as these files are the same, whatever has changed in others."""
    files = {path for path in PACKAGE.rglob("*.py") if decorated(ast.parse(path.read_text()))}
    assert len(files) > 1
    assert all(path.is_relative_to(PACKAGE / "ops") for path in files)
    sources = sources_of_operations()
    for module, source in sources.items():
        if decorated(ast.parse(source)):
            assert strangers(module, sources) == set(), module


def test_strangers_are_found_behind_tables_and_helpers() -> None:
    main = """
import numpy as np
from a import b, C
from gpuquant.ops.d import e, F, g as h
T = np.array([k(1) for k in (C,)])
@compiled
def f(x):
    b(x, e, np.pi)
    return x + T + F + h
"""
    other = "from z import w\nfrom y import v\nunused = v\nF = w(3)\ndef e(x):\n    return g\ng: int = u\n"
    sources = {"gpuquant.ops.c": main, "gpuquant.ops.d": other}
    assert strangers("gpuquant.ops.c", sources) == {"b", "C", "w", "u"}


def leaks(sources: dict[str, str]) -> set[str]:
    """Compiled functions that make no arrays, but call one that does: they count no references to what it returns."""
    makers: set[tuple[str, str]] = set()
    called: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for module, source in sources.items():
        tree = ast.parse(source)
        origins = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for function in decorated(tree):
            names = names_in(*function.body)
            attributes = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
            called[module, function.name] = {origins.get(name, (module, name)) for name in names}
            if (names | attributes) & compiled_loops.MAKERS:
                makers.add((module, function.name))
    return {name for (module, name), others in called.items() if (module, name) not in makers and others & makers}


def test_no_compiled_function_leaks_an_array() -> None:
    assert leaks(sources_of_operations()) == set()
    source = """
import numpy as np
from b import makes as also
@compiled
def calls(n):
    return makes(n)[0]
@compiled
def makes(n):
    return np.empty(n)
@compiled
def calls_it(n):
    return calls(n) + 1
@compiled
def uses(n, rows):
    return also(n).copy()
@compiled
def calls_other(n):
    return also(n)[0]
"""
    other = "import numpy as np\n@written_out\ndef makes(n):\n    return np.zeros(n)\n"
    assert leaks({"a": source, "b": other}) == {"calls", "calls_other"}


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


def test_a_change_of_another_file_is_seen(tmp_path: Path) -> None:
    """A loop holds the code of the functions that it calls, and the numbers of tables, wherever these are from."""
    shutil.copytree(PACKAGE, tmp_path / "gpuquant", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import torch
from gpuquant import ops
from gpuquant.ops.pixels import cpu_counting
cpu_counting.FEW_PIXELS = 0
print(ops.count_colors(torch.zeros(4, 3, dtype=torch.uint8))[0].tolist())
print(sum(cpu_counting._count_rows.stats.cache_hits.values()))
"""
    assert [run(code, tmp_path) for _ in range(2)] == ["[0]\n0\n", "[0]\n1\n"]
    kept = set((tmp_path / "kept").rglob("*.nb?"))
    for file, old, new, after in (
        ("pixels/cpu_keys.py", "return SPREAD[0, rows", "return 1 + SPREAD[0, rows", "[1]\n"),  # a function
        (
            "points/spread_bits.py",
            "in range(3)], np.uint32)",
            "in (3, 1, 2)], np.uint32) + 1",
            "[3]\n",
        ),  # a table: 1 + 1 | 1 | 1
        ("pixels/reference.py", '"""', '"""In other words: ', "[3]\n"),
    ):
        path = tmp_path / "gpuquant" / "ops" / file
        text = path.read_text()
        changed = text.replace(old, new, 1)
        assert changed != text
        path.write_text(changed)
        assert run(code, tmp_path) == after + "0\n"
        assert set((tmp_path / "kept").rglob("*.nb?")) == kept  # what is of no use any more is written over


def test_files_in_an_archive_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for path in PACKAGE.rglob("ops/**/*.py"):
            archive.write(path, path.relative_to(PACKAGE))
    folder = zipfile.Path(tmp_path / "some.zip", "ops/")
    assert list(compiled_loops._sources(folder)) == list(compiled_loops._sources(PACKAGE / "ops"))


def test_a_file_that_moves_is_another_one(tmp_path: Path) -> None:
    for folder, file in (("first", "a/some.py"), ("second", "b/some.py"), ("third", "some.py")):
        path = tmp_path / folder / file
        path.parent.mkdir(parents=True)
        path.write_text("ONE = 1")
    found = {tuple(compiled_loops._sources(tmp_path / folder)) for folder in ("first", "second", "third")}
    assert len(found) == 3


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
