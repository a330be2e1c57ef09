"""Palettes in files: the ending says in which format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.files import whole_file
from gpuquant.palette import MAX_ENTRIES, Palette
from gpuquant.palette_binary_formats import ACT_ENTRIES, read_act, read_ase, write_act, write_ase
from gpuquant.palette_pictures import read_png, write_png
from gpuquant.palette_text_formats import (
    WITH_ALPHA,
    Entry,
    read_css,
    read_gpl,
    read_hex,
    read_json,
    read_txt,
    write_css,
    write_gpl,
    write_hex,
    write_json,
    write_txt,
)

MAX_BYTES = 1 << 22  # of a file; of a PNG the pixels are limited


@dataclass(frozen=True)
class _TextFormat:
    write: Callable[[Palette, str], str]
    read: Callable[[str], list[Entry]]


@dataclass(frozen=True)
class _BinaryFormat:
    write: Callable[[Palette, str], bytes]
    read: Callable[[bytes], list[Entry]] | None  # None for pictures, which are read from their path


_FORMATS: dict[str, _TextFormat | _BinaryFormat] = {
    ".hex": _TextFormat(write_hex, read_hex),
    ".gpl": _TextFormat(write_gpl, read_gpl),
    ".ase": _BinaryFormat(write_ase, read_ase),
    ".act": _BinaryFormat(write_act, read_act),
    ".txt": _TextFormat(write_txt, read_txt),
    ".css": _TextFormat(write_css, read_css),
    ".json": _TextFormat(write_json, read_json),
    ".png": _BinaryFormat(write_png, None),
}
TEXT_ENDINGS = tuple(ending for ending, form in _FORMATS.items() if isinstance(form, _TextFormat))


def write_palette(palette: Palette, path: str | Path) -> None:
    """Write a palette in the format of the path's ending, so that a failure leaves no half file.

    .hex, .txt (Paint.NET), .css, .json and .png hold every palette; .gpl (GIMP) and .ase (Adobe) hold opaque colors,
    and .act (Adobe) up to 256 of which one may be clear.

    Parameters
    ----------
    palette : Palette
        From 1 to 65536 entries; order and duplicates are kept.
    path : str or Path

    Raises
    ------
    ArgumentError
        The ending is unknown, or the format cannot hold the palette.
    ImageFileError
        The file cannot be written.

    Notes
    -----
    Sources: "GIMP Palette Format Version 2" of GIMP's developer documentation; "Color Table" in Adobe's "Photoshop File
    Formats Specification" for .act; "CSS Custom Properties for Cascading Variables Module Level 1" of the W3C. For .ase
    Adobe publishes none: it is as its programs write it.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> from pathlib import Path
    >>> palette = gpuquant.Palette(np.array([[255, 128, 0], [0, 0, 0]], np.uint8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gpuquant.write_palette(palette, Path(folder) / "two.gpl")
    ...     gpuquant.read_palette(Path(folder) / "two.gpl").hex
    ('#ff8000', '#000000')
    """
    if not isinstance(palette, Palette):
        raise ArgumentError(f"palette must be a gpuquant.Palette, got {type(palette).__name__}")
    ending = check_palette_format(path, len(palette))
    written = _FORMATS[ending].write(palette, Path(path).stem)
    content = written if isinstance(written, bytes) else written.encode(errors="replace")
    with whole_file(path) as file:
        file.write(content)


def palette_text(palette: Palette, ending: str) -> str:
    """A palette as one of the formats that are text."""
    form = _FORMATS[ending]
    assert isinstance(form, _TextFormat)
    return form.write(palette, "gpuquant")


def read_palette(path: str | Path) -> Palette:
    """Read a palette in the format of the path's ending; what `write_palette` wrote comes back as it was.

    Also .gpl without a header's fields, .ase with groups and with Gray, CMYK and Lab swatches (converted by formula,
    without profiles), .act of 768 or 772 bytes, the custom properties of any .css, and .json with a list of colors. Of
    an indexed .png the palette is read, so that a quantized photo will do; of any other the distinct colors, line by
    line. A palette of opaque entries has no alpha, whatever was written.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    ImageFileError
        The file cannot be read, is malformed, or holds no colors or too many.

    Examples
    --------
    >>> import gpuquant, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "style.css"
    ...     _ = path.write_text("a { --main: tomato; --shade: rgb(0 0 0 / 50%); color: red }")
    ...     gpuquant.read_palette(path).hex
    ('#ff6347ff', '#00000080')
    """
    form = _FORMATS[check_palette_format(path)]
    if not Path(path).is_file():  # a pipe would be waited for
        raise ImageFileError(f"{path}: no such file" if not Path(path).exists() else f"{path} is not a regular file")
    if form.read is None:
        entries = read_png(path)
    else:
        data = _data_of(path)
        try:
            read = form.read(_text_of(data)) if isinstance(form, _TextFormat) else form.read(data)
        except ImageFileError as error:
            raise ImageFileError(f"{path}: {error}") from None
        entries = np.array(read, np.uint8).reshape(-1, 4)
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ImageFileError(f"{path} holds {len(entries)} colors; a palette has from 1 to {MAX_ENTRIES}")
    opaque = bool((entries[:, 3] == 255).all())
    return Palette(entries[:, :3].copy(), None if opaque else entries[:, 3].copy())


def check_palette_format(path: str | Path, n_entries: int = 1) -> str:
    """The ending of a path, in small letters, which says what the palette's format is.

    Raises
    ------
    ArgumentError
        The ending is unknown, or the format cannot hold so many entries.
    """
    if not isinstance(path, str | Path):
        raise ArgumentError(f"path must be the path of a palette, got {type(path).__name__}")
    ending = Path(path).suffix.lower()
    if ending not in _FORMATS:
        known = f"{', '.join(list(_FORMATS)[:-1])} or .png"
        raise ArgumentError(f"{path}: no palettes are in {ending or 'files without an ending'!r}; use {known}")
    if not 1 <= n_entries <= MAX_ENTRIES:
        raise ArgumentError(f"{path}: a palette in a file has from 1 to {MAX_ENTRIES} entries, not {n_entries}")
    if ending == ".act" and n_entries > ACT_ENTRIES:
        raise ArgumentError(
            f"{path}: an .act palette has at most {ACT_ENTRIES} entries, not {n_entries}; use {WITH_ALPHA}"
        )
    return ending


def _data_of(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ImageFileError(f"{path} has more than {MAX_BYTES} bytes: it is not a palette")
    return data


def _text_of(data: bytes) -> str:
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, errors="replace")
