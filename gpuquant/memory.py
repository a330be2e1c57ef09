"""The budget: how much memory may be used, and what a photo takes of it."""

import ctypes
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from numbers import Integral
from pathlib import Path, PurePosixPath

from gpuquant.errors import ArgumentError

SHARE = 4  # a quarter of what is free: others come and go, and what a codec takes is only roughly known
LEAST = 512_000_000  # bytes: the program, a photo of two million colors, and strips of some megapixels
LEAST_WITH_EFFECT = 500_000_000  # bytes: engine_memory() of one thread, and the smallest strips; none is held to less
ARENA_MAX = -8  # M_ARENA_MAX of malloc.h, glibc
UNITS = {"b": 1} | {
    letter + ending: base**power
    for power, letter in enumerate("kmgt", 1)
    for ending, base in (("b", 1000), ("ib", 1024))
}

# What a process takes beside pixels and labels, measured on photos of 10^4 to 1.7 x 10^7 colors, 16 to 1024 entries,
# every effort, dithered or not.
PROGRAM = 240 << 20  # bytes of its own: Python, torch, Numba and the compiled loops after a small photo
OF_COUNTING = 16 << 20  # for each thread: a byte for each of the 2^24 colors; they are kept, and hold labels later
OF_MANY_COLORS = 128 << 20  # 8 bytes for each of the 2^24, while strips of more than half a million are added up
FEW_COLORS = 1 << 19  # that are added up without it
A_COLOR = 64  # at the peak of the search for a palette
A_COLOR_AS_FLOATS = 112  # in another color space than sRGB
MANY_COLORS = 2_500_000  # of a real photo: a mosaic of 240 megapixels had 2.49 million, single photos up to 1.3
STRIP_PIXELS = 1 << 21  # of a strip at most: larger ones take as long, and up to 0.3 GB more (100 to 1000 megapixels)
OF_PIXEL = 16  # bytes of a strip's pixel on its way: levels twice, labels, and what is deflated


def parse_memory(memory: int | str, name: str = "memory") -> int:
    """Bytes of "2GB", "512 MB", "1.5GiB", or of a number of bytes.

    Raises
    ------
    ArgumentError
        It is no such text, or less than a byte.

    Examples
    --------
    >>> parse_memory("2GB"), parse_memory("1.5 GiB"), parse_memory(512_000_000)
    (2000000000, 1610612736, 512000000)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", str(memory).strip().lower())
    is_known = isinstance(memory, str | Integral) and not isinstance(memory, bool)
    if not is_known or found is None or (found[2] or "b") not in UNITS:
        raise ArgumentError(
            f'{name}={memory!r} is no amount of memory; use "2GB", "512MB", "1.5GiB" or a number of bytes'
        )
    n_bytes = int(Decimal(found[1]) * UNITS[found[2] or "b"])
    if n_bytes < 1:
        raise ArgumentError(f"{name}={memory!r} is less than a byte")
    return n_bytes


def default_budget(root: Path = Path("/")) -> int:
    """Bytes that may be used where nobody says how many: a quarter of what is free, at least 512 MB.

    `root` is another place where `proc` and `sys` are found.
    """
    free = free_memory(root)
    return LEAST if free is None else max(LEAST, free // SHARE)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that the container or the systemd slice may still take, without its cache of files, and the machine has.

    None where nobody knows.
    """
    return min([*_free_in_groups(root), *_free_in_machine(root)], default=None)


def engine_memory(n_threads: int, n_colors: int = MANY_COLORS, *, as_floats: bool = False) -> int:
    """Bytes that a process takes for a photo of so many distinct colors, beside its pixels and labels."""
    counting = OF_MANY_COLORS if n_colors > FEW_COLORS else 0
    searching = n_colors * (A_COLOR_AS_FLOATS if as_floats else A_COLOR)
    return PROGRAM + n_threads * OF_COUNTING + max(counting, searching)


def strip_rows(n_bytes: int, width: int, of_pixel: int) -> int:
    """Rows of a strip in so many bytes: at least one, and no more than are of use."""
    return max(1, min(n_bytes // (width * of_pixel), STRIP_PIXELS // width))


def how_many(budget: int, each: int, most: int) -> int:
    """Count the photos that fit into a budget at a time, which share one program: at least one."""
    return max(1, min(most, (budget - PROGRAM) // max(1, each - PROGRAM)))


def share_freed_memory() -> None:
    """Let threads share what they freed, in a process of ours: each would keep that of a whole photo to itself.

    With two places for it (arenas of glibc's allocator) a batch of 40 photos in two jobs took 0.51 GB in place of 0.72
    where memory was given back after each, or 0.79; and the same time.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    try:
        ctypes.CDLL(None).mallopt(ARENA_MAX, 2)
    except (AttributeError, OSError, TypeError):  # another allocator; TypeError on Windows
        return


def _free_in_machine(root: Path) -> Iterator[int]:
    """The system's own estimate, or half of the memory that there is; nothing where neither is known (Windows)."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        yield int(found[1]) * 1024
    elif root == Path("/") and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_groups(root: Path) -> Iterator[int]:
    """Free memory of each control group (cgroup) of this process that has a limit, and of those around it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, place = [*line.split(":", 2), "", ""][:3]
        if kinds == "":  # the second version
            folder, names = root / "sys/fs/cgroup", ("memory.max memory.high", "memory.current", "")
        elif "memory" in kinds.split(","):
            folder, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        parts = [part for part in PurePosixPath(place).parts if part != "/"]
        if ".." in parts:  # the group is outside of what is seen
            parts = []
        for depth in range(len(parts) + 1):  # a container may see its own group as the topmost
            free = _free_in_group(folder.joinpath(*parts[:depth]), *names)
            if free is not None:
                yield free


def _free_in_group(group: Path, limit_names: str, usage_name: str, prefix: str) -> int | None:
    """The lower limit less the usage, but for the cache of files, which gives way; None without a limit ("max").

    Above `memory.high` a process is not killed, but slowed down until it hardly moves.
    """
    limits = [found for name in limit_names.split() if (found := _number(_text(group / name))) is not None]
    usage = _number(_text(group / usage_name))
    if not limits or usage is None:
        return None
    cache = re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
    return max(0, min(limits) - max(0, usage - sum(map(int, cache))))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]+\n?", text) else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):  # ValueError of bytes that are no text, and of places that no path has
        return ""
