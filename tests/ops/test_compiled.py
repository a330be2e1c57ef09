"""Compiled loops: what is kept on disk is right, and what goes wrong there is no error."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuquant.ops import compiled as compiled_loops
from gpuquant.ops.compiled import compiled, written_out

pytest.importorskip("numba")
from numba.core import caching, config

NOTICE = "gpuquant: compiling loops for this machine, once\n"


def triple(number: float) -> float:
    return 3 * number


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
