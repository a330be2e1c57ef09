"""The budget of memory, from made-up trees of the system's files."""

import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquant import memory
from gpuquant.errors import ArgumentError
from gpuquant.memory import LEAST, LEAST_WITH_EFFECT, default_budget, engine_memory, how_many, parse_memory, strip_rows
from gpuquant.quantization.file_steps import LEAST_FOR_PIXELS, Budget

GB = 10**9
NO_LIMIT = 9_223_372_036_854_771_712  # of the first version


@pytest.mark.parametrize(
    ("given_", "n_bytes"),
    [
        ("2GB", 2 * GB),
        ("2 gb", 2 * GB),
        (" 512MB ", 512_000_000),
        ("1.5GiB", 3 << 29),
        ("1.5gib", 3 << 29),
        ("0.001kB", 1),
        ("100", 100),
        ("100B", 100),
        ("3TiB", 3 << 40),
        (7, 7),
        ("0.1GB", 100_000_000),
        ("12345678901234567890", 12345678901234567890),
    ],
)
def test_amounts(given_: int | str, n_bytes: int) -> None:
    assert parse_memory(given_) == n_bytes


@pytest.mark.parametrize(
    "given_", ["", "GB", "-1GB", "2G", "2 XB", "1e9", "1,5GB", "nan", "inf", "٣GB", "2GB2", "1.GB", 1.5, True, None, -3]
)
def test_what_is_no_amount(given_: object) -> None:
    with pytest.raises(ArgumentError, match=r'is no amount of memory; use "2GB"'):
        parse_memory(given_)  # type: ignore[arg-type]


@pytest.mark.parametrize("given_", [0, "0", "0GB", "0.0001kB"])
def test_less_than_a_byte(given_: int | str) -> None:
    with pytest.raises(ArgumentError, match=r"size=.* is less than a byte"):
        parse_memory(given_, "size")


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    with contextlib.suppress(ArgumentError):
        assert parse_memory(text) >= 1


def tree(root: Path, **files: str | int) -> Path:
    """A root with these files; `__` in a name stands for a slash, `_` for itself."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def machine(root: Path, free: int, groups: str = "") -> Path:
    return tree(
        root, proc__meminfo=f"MemTotal: 9 kB\nMemAvailable:   {free // 1000} kB", proc__self__cgroup=groups or "0::/"
    )


def group(root: Path, place: str, limit: int | str, usage: int, cache: int = 0, *, version: int = 2) -> None:
    folder = root / "sys/fs/cgroup" / ("" if version == 2 else "memory") / place
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, number in zip(names, (limit, usage), strict=True):
        (folder / name).write_text(f"{number}\n")
    prefix = "" if version == 2 else "total_"
    lines = f"anon {usage}\n{prefix}inactive_file {cache // 4 * 3}\n{prefix}active_file {cache // 4}\nactive_file_x 5\n"
    (folder / "memory.stat").write_text(lines)


def test_a_machine_without_groups(tmp_path: Path) -> None:
    assert default_budget(machine(tmp_path, 40 * GB)) == 40_000_000 * 1024 // 4


@pytest.mark.parametrize("free", [0, GB, 2_000_000_000])
def test_at_least_512_megabytes(free: int, tmp_path: Path) -> None:
    assert default_budget(machine(tmp_path, free)) == LEAST


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit(version: int, tmp_path: Path) -> None:
    line = "0::/" if version == 2 else "12:cpu,cpuacct:/x\n4:memory:/"
    machine(tmp_path, 100 * GB, line)
    group(tmp_path, "", 16 * GB, 4 * GB, version=version)
    assert default_budget(tmp_path) == 3 * GB
    group(tmp_path, "", 16 * GB, 4 * GB, 2 * GB, version=version)
    assert default_budget(tmp_path) == 3 * GB + GB // 2, "the cache of files gives way"
    group(tmp_path, "", 16 * GB, 17 * GB, version=version)
    assert default_budget(tmp_path) == LEAST, "more is used than allowed"


def test_a_limit_above_which_processes_are_slowed_down(tmp_path: Path) -> None:
    machine(tmp_path, 100 * GB)
    group(tmp_path, "", 16 * GB, 0)
    for high, budget in (("max", 4 * GB), (12 * GB, 3 * GB), (20 * GB, 4 * GB)):
        (tmp_path / "sys/fs/cgroup/memory.high").write_text(f"{high}\n")
        assert default_budget(tmp_path) == budget


@pytest.mark.parametrize("version", [1, 2])
def test_the_smallest_limit_around_counts(version: int, tmp_path: Path) -> None:
    line = "0::/a/b/c" if version == 2 else "3:cpu:/z\n2:hugetlb,memory:/a/b/c"
    for number, order in enumerate(itertools.permutations([8 * GB, 12 * GB, 20 * GB])):
        root = machine(tmp_path / str(number), 100 * GB, line)
        for place, limit in zip(("a", "a/b", "a/b/c"), order, strict=True):
            group(root, place, limit, 0, version=version)
        assert default_budget(root) == 2 * GB


@pytest.mark.parametrize(("version", "none"), [(2, "max"), (1, NO_LIMIT)])
def test_no_limit(version: int, none: int | str, tmp_path: Path) -> None:
    line = "0::/a" if version == 2 else "4:memory:/a"
    machine(tmp_path, 40 * GB, line)
    group(tmp_path, "", none, 0, version=version)
    group(tmp_path, "a", none, 3 * GB, version=version)
    assert default_budget(tmp_path) == 40_000_000 * 1024 // 4


def test_the_machine_has_less_than_the_limit(tmp_path: Path) -> None:
    machine(tmp_path, 8 * GB)
    group(tmp_path, "", 16 * GB, 0)
    assert default_budget(tmp_path) == 8_000_000 * 1024 // 4


@pytest.mark.parametrize("place", ["/docker/0123", "/../../outside", "/a b:c"])
def test_a_container_sees_its_group_as_the_topmost(place: str, tmp_path: Path) -> None:
    machine(tmp_path, 100 * GB, f"0::{place}")
    group(tmp_path, "", 16 * GB, 0)
    group(tmp_path / "sys/fs", "..", 1, 0)
    assert default_budget(tmp_path) == 4 * GB


def test_both_versions_at_once(tmp_path: Path) -> None:
    machine(tmp_path, 100 * GB, "4:memory:/a\n0::/b")
    group(tmp_path, "a", 16 * GB, 0, version=1)
    assert default_budget(tmp_path) == 4 * GB


@pytest.mark.parametrize("text", ["", "nonsense", "::::", "0::", "a:b\n", "0::/\0"])
def test_files_that_say_nothing(text: str, tmp_path: Path) -> None:
    tree(tmp_path, proc__self__cgroup=text, proc__meminfo=text)
    assert default_budget(tmp_path) == LEAST
    assert default_budget(tmp_path / "not there") == LEAST
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_bytes(b"\xff")
    assert default_budget(tmp_path) == LEAST


def test_this_machine() -> None:
    assert default_budget() >= LEAST


def test_what_a_photo_takes() -> None:
    few, many, most = (engine_memory(2, number) for number in (1000, 600_000, 10**7))
    assert few < many < most
    assert engine_memory(4, 1000) - engine_memory(2, 1000) == 2 << 24
    assert engine_memory(2, 10**7, as_floats=True) > most
    assert engine_memory(2) < LEAST, "the least budget holds what real photos take"


@pytest.mark.parametrize("width", [1, 1000, 50_000, 2**31 - 1])
def test_rows_of_a_strip(width: int) -> None:
    assert strip_rows(0, width, 4) == 1
    assert strip_rows(40 * width, width, 4) == min(10, max(1, memory.STRIP_PIXELS // width))
    assert strip_rows(10**15, width, 4) == max(1, memory.STRIP_PIXELS // width)


def test_photos_at_a_time() -> None:
    assert how_many(memory.PROGRAM + 100, memory.PROGRAM + 30, 8) == 3
    assert how_many(memory.PROGRAM + 100, memory.PROGRAM + 30, 2) == 2
    assert how_many(1000, memory.PROGRAM + 30, 8) == 1
    assert how_many(memory.PROGRAM + 100, 0, 5) == 5


def test_what_is_less_than_any_photo_is_held_to() -> None:
    assert pytest.approx(engine_memory(1) + LEAST_FOR_PIXELS, rel=0.01) == LEAST_WITH_EFFECT
    for n_bytes in (1, LEAST_WITH_EFFECT - 10_000_000):
        assert Budget(n_bytes, as_floats=False).for_pixels == LEAST_FOR_PIXELS
