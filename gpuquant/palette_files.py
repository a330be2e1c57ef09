"""Palettes in files: one colour a line, "#rrggbb" or, with alpha, "#rrggbbaa"."""

import re
from pathlib import Path

import numpy as np

from gpuquant.errors import ImageFileError
from gpuquant.files import whole_file
from gpuquant.palette import Palette

MAX_ENTRIES = 65_536
MAX_BYTES = 1 << 22
_LINE = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)


def write_palette(palette: Palette, path: str | Path) -> None:
    """Write a palette so that a failure leaves no half file.

    Raises
    ------
    ImageFileError
        The file cannot be written.
    """
    with whole_file(path) as file:
        file.write("".join(f"{color}\n" for color in palette.hex).encode())


def read_palette(path: str | Path) -> Palette:
    """Read what `write_palette` wrote; empty lines and those that begin with "//" or ";" are skipped.

    Raises
    ------
    ImageFileError
        The file cannot be read, or a line is not a colour.
    """
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise ImageFileError(
                f"{path}: no such file" if not Path(path).exists() else f"{path} is not a regular file"
            )
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ImageFileError(f"{path} has more than {MAX_BYTES} bytes: it is not a palette")
    rows: list[bytes] = []
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith(("//", ";")):
            continue
        found = _LINE.fullmatch(text)
        if not found:
            raise ImageFileError(f"{path}, line {number}: {text[:40]!r} is not a color such as #ff8000")
        rows.append(bytes.fromhex(found[1].ljust(8, "f")))
    if not rows or len(rows) > MAX_ENTRIES:
        raise ImageFileError(f"{path} holds {len(rows)} colors; a palette has from 1 to {MAX_ENTRIES}")
    entries = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 4)
    opaque = bool((entries[:, 3] == 255).all())
    return Palette(entries[:, :3].copy(), None if opaque else entries[:, 3].copy())
