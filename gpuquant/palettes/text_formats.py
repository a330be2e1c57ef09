"""Palettes as text: .hex, .txt (Paint.NET), .gpl (GIMP), .css and .json. Readers give the entries as they come."""

import json
import re
from collections.abc import Iterator

from gpuquant.errors import ImageFileError
from gpuquant.palettes.entries import Entry, PaletteEntries, css_entry, hex_entry, refuse_alpha
from gpuquant.tensors import as_numpy

_COLOR_BEGINNINGS = ("#", "rgb", "hsl", "hwb", "lab(", "lch(", "oklab(", "oklch(", "color(", "color-mix(")
_CSS_SHARE = re.compile(  # of a line that write_css writes
    r"^ *--[a-z0-9_-]{1,100}: #[0-9a-f]{6,8}; /\* [^*\n]{0,100}, ([0-9]{1,3}\.[0-9]{2}) % \*/\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_GPL_FIELD = re.compile(r"[A-Za-z]+:")


def write_hex(palette: PaletteEntries, _: str) -> str:
    """One "#rrggbb" or, with alpha, "#rrggbbaa" a line."""
    return "".join(f"{color}\n" for color in palette.hex)


def read_hex(text: str) -> list[Entry]:
    """One color a line, with or without "#"; lines that begin with "//" or ";" are comments."""
    entries = []
    for number, line in _lines(text):
        if line.startswith(("//", ";")):
            continue
        entry = hex_entry(line)
        if not entry:
            raise ImageFileError(f"line {number}: {line[:40]!r} is not a color such as #ff8000")
        entries.append(entry)
    return entries


def write_txt(palette: PaletteEntries, _: str) -> str:
    """Paint.NET's palette: one AARRGGBB a line."""
    rows = palette.rgba[:, [3, 0, 1, 2]]
    return "; paint.net Palette File\n" + "".join(f"{row.tobytes().hex().upper()}\n" for row in rows)


def read_txt(text: str) -> list[Entry]:
    """One AARRGGBB or RRGGBB a line; what follows ";" or begins with "//" is a comment; lines with "#" are CSS's."""
    entries = []
    for number, line in _lines(text):
        color = line.partition(";")[0].strip()
        if not color or color.startswith("//"):
            continue
        entry = hex_entry(color[2:] + color[:2] if len(color) == 8 and color[0] != "#" else color)
        if not entry:
            raise ImageFileError(f"line {number}: {line[:40]!r} is not a color such as FFFF8000 (AARRGGBB) or #ff8000")
        entries.append(entry)
    return entries


def write_gpl(palette: PaletteEntries, name: str) -> str:
    """GIMP's palette: red, green and blue in decimals, and a name."""
    refuse_alpha(palette, ".gpl")
    columns = min(len(palette), 16)
    lines = ["GIMP Palette", f"Name: {' '.join(name.split())}", f"Columns: {columns}", "#"]
    for red, green, blue, _ in palette.rgba.tolist():
        lines.append(f"{red:3} {green:3} {blue:3}\t#{red:02x}{green:02x}{blue:02x}")
    return "\n".join(lines) + "\n"


def read_gpl(text: str) -> list[Entry]:
    """Lines of three levels, or of four where the header says "Channels: RGBA", as Aseprite's does."""
    lines = _lines(text)
    if not next(lines, (0, ""))[1].startswith("GIMP Palette"):
        raise ImageFileError('line 1: the file does not begin with "GIMP Palette"')
    n_levels, entries = 3, []
    for number, line in lines:
        if line.startswith("#"):
            continue
        if _GPL_FIELD.match(line):
            n_levels = 4 if line.split() == ["Channels:", "RGBA"] else n_levels
            continue
        words = line.split(maxsplit=n_levels)[:n_levels]
        levels = [int(word) for word in words if re.fullmatch("[0-9]{1,3}", word)]
        if len(levels) < n_levels or max(levels) > 255:
            example = "255 128 0" if n_levels == 3 else "255 128 0 255"
            raise ImageFileError(f"line {number}: {line[:40]!r} does not begin with levels such as {example}")
        entries.append((levels[0], levels[1], levels[2], levels[3] if n_levels == 4 else 255))
    return entries


def write_css(palette: PaletteEntries, prefix: str) -> str:
    """Custom properties --prefix-1, --prefix-2 and so on of :root, each with its name and, where known, its share."""
    comments = [" ".join(name.split()).replace("*", "") for name in palette.names()]
    if palette.shares is not None:
        shares = as_numpy(palette.shares).tolist()
        comments = [f"{name}, {100 * share:.2f} %" for name, share in zip(comments, shares, strict=True)]
    lines = [
        f"  --{prefix}-{number}: {color}; /* {comment} */"
        for number, (color, comment) in enumerate(zip(palette.hex, comments, strict=True), start=1)
    ]
    return "\n".join([":root {", *lines, "}"]) + "\n"


def read_css(text: str) -> list[Entry]:
    """The colors among all custom properties, in their order; other properties and values are passed over."""
    entries, number = [], 1
    for declaration in re.split("([;{}])", _without_comments(text)):
        name, _, value = declaration.partition(":")
        line = number + name[: len(name) - len(name.lstrip())].count("\n")
        number += declaration.count("\n")
        if name.strip().startswith("--"):
            value = re.sub(r"\s*!\s*important\Z", "", value.strip()[:200], flags=re.IGNORECASE)
            entry = css_entry(value)
            if entry:
                entries.append(entry)
            elif value.lower().startswith(_COLOR_BEGINNINGS):
                raise ImageFileError(f"line {line}: {value[:40]!r} is not a color such as #ff8000 or rgb(255, 128, 0)")
    return entries


def css_shares(text: str) -> list[float]:
    """The shares in the comments of lines as `write_css` writes them."""
    return [float(percent) / 100 for percent in _CSS_SHARE.findall(text)]


def write_json(palette: PaletteEntries, _: str) -> str:
    """An object with the list "colors", and as many "names" and, where known, "shares" from 0 to 1."""
    lists: dict[str, list[object]] = {"colors": [*palette.hex], "names": [*palette.names()]}
    if palette.shares is not None:
        lists["shares"] = as_numpy(palette.shares).tolist()
    texts = (f'"{key}": [\n' + ",\n".join(f"  {json.dumps(one)}" for one in some) for key, some in lists.items())
    return "{" + "\n], ".join(texts) + "\n]}\n"


def read_json(text: str) -> list[Entry]:
    """A list of colors such as "#ff8000", or an object with such a list as "colors"."""
    value = _json_value(text)
    colors = value.get("colors") if isinstance(value, dict) else value
    if not isinstance(colors, list):
        raise ImageFileError('line 1: neither a list of colors nor an object with the list "colors"')
    entries = []
    for number, color in enumerate(colors, start=1):
        entry = (hex_entry(color) or css_entry(color)) if isinstance(color, str) else None
        if entry is None:
            raise ImageFileError(f'color {number}: {str(color)[:40]!r} is not a color such as "#ff8000"')
        entries.append(entry)
    return entries


def json_shares(text: str) -> object:
    """The value of "shares" where the JSON is an object that has it, else None."""
    value = _json_value(text)
    return value.get("shares") if isinstance(value, dict) else None


def _json_value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ImageFileError(f"line {error.lineno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # of a number that is too long, or of brackets that are too deep
        raise ImageFileError("line 1: no JSON that is a palette") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The numbers and words of lines that are not empty."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _without_comments(text: str) -> str:
    """CSS with its comments blanked, line ends kept. Searching by hand is linear, whatever the file holds."""
    parts, place = [], 0
    while (start := text.find("/*", place)) >= 0:
        end = text.find("*/", start + 2)
        end = len(text) if end < 0 else end + 2
        parts += [text[place:start], " ", "\n" * text.count("\n", start, end)]
        place = end
    return "".join([*parts, text[place:]])
