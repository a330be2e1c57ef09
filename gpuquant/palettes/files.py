"""Palettes in files: the ending says in which format."""

import re
from pathlib import Path
from pkgutil import resolve_name

from gpuquant.arguments import in_words
from gpuquant.errors import ArgumentError
from gpuquant.images.targets import whole_target
from gpuquant.locations import Location, place_of
from gpuquant.palettes.formats import check_palette_format
from gpuquant.palettes.palette import Palette, PaletteLike
from gpuquant.palettes.registry import FORMATS

_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")  # such letters stand in a CSS name without escapes


def write_palette(palette: PaletteLike, path: str | Path | Location, *, prefix: str | None = None) -> None:
    """Write a palette in the format of the path's ending, so that a failure leaves no half file.

    Every palette goes into .hex ("#rrggbb" or "#rrggbbaa" a line), .txt (Paint.NET, AARRGGBB), .css (custom properties;
    names and shares are comments), .json ({"colors": ["#rrggbb", ...], "names": [...], "shares": [...]}) and .png
    (swatches). .gpl (GIMP) and .ase (Adobe swatch exchange) hold opaque colors, .act (Adobe color table) up to 256
    colors of which one may be clear.

    Parameters
    ----------
    palette : Palette, or what `Palette` takes
        From 1 to 65536 entries; order and duplicates are kept.
    path : str or Path
        Also a URL.
    prefix : str, optional
        What CSS variables are called, "brand" for --brand-1 and so on; "color" if not given. It is for .css alone.

    Raises
    ------
    ArgumentError
        The ending is unknown, the format cannot hold the palette, or the prefix cannot be used.
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
    palette = palette if isinstance(palette, Palette) else Palette(palette)
    ending = check_palette_format(path, len(palette))
    check_prefix(prefix, ending)
    written = _written(palette, ending, place_of(path).stem, prefix)
    content = written if isinstance(written, bytes) else written.encode(errors="replace")
    with whole_target(path) as file:
        file.write(content)


def palette_text(palette: Palette, ending: str, prefix: str | None = None) -> str:
    """A palette as text in the format of an ending."""
    text = _written(palette, ending, "gpuquant", prefix)
    assert isinstance(text, str)
    return text


def check_prefix(prefix: str | None, *endings: str) -> None:
    """Raise unless one of the formats has variables, and the prefix can begin their names."""
    if prefix is None:
        return
    with_variables = [ending for ending, form in FORMATS.items() if form.has_variables]
    if not set(with_variables) & set(endings):
        where = in_words(with_variables)
        raise ArgumentError(f"prefix={prefix!r} is for variables, which are in {where} alone; leave it out")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ArgumentError(f'prefix={prefix!r} must be up to 40 letters, digits, "-" and "_", such as "brand"')


def _written(palette: Palette, ending: str, name: str, prefix: str | None) -> str | bytes:
    form = FORMATS[ending]
    content: str | bytes = resolve_name(form.write)(palette, prefix or "color" if form.has_variables else name)
    return content


def read_palette(path: str | Path | Location) -> Palette:
    """Read a palette in the format of the ending of a path or URL; what `write_palette` wrote comes back as it was.

    Also .hex without "#", .txt with lines as in .hex, .gpl without a header's fields, .ase with groups and with Gray,
    CMYK and Lab swatches (converted by formula, without profiles), .act of 768 or 772 bytes, the custom properties of
    any .css (hex colors, `rgb()` and names), and .json with a list of colors. Of an indexed .png the palette is read:
    a quantized photo will do; of any other the distinct colors, line by line. A palette of opaque entries has no
    alpha, whatever was written. It has `shares` where those of a .json, or the rounded ones in the comments of a .css
    that `write_palette` wrote, are one for each color and add up to 1.

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
    check_palette_format(path)
    return Palette(place_of(path))
