"""Palettes as text: .hex, .txt (Paint.NET), .gpl (GIMP), .css and .json. Readers give the entries as they come."""

import json
import math
import re
from collections.abc import Iterator

from gpuquant.color_names import levels_of_name
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palette import Palette

Entry = tuple[int, int, int, int]  # red, green, blue, alpha: 0..255

WITH_ALPHA = ".hex, .txt, .css, .json or .png"
_HEX = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_CSS_HEX = re.compile(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_CSS_RGB = re.compile(r"rgba?\(([^()]*)\)", re.IGNORECASE)
_COLOR_BEGINNINGS = ("#", "rgb", "hsl", "hwb", "lab(", "lch(", "oklab(", "oklch(", "color(", "color-mix(")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)%?")
_GPL_FIELD = re.compile(r"[A-Za-z]+:")


def write_hex(palette: Palette, _: str) -> str:
    """One "#rrggbb" or, with alpha, "#rrggbbaa" a line."""
    return "".join(f"{color}\n" for color in palette.hex)


def read_hex(text: str) -> list[Entry]:
    """One color a line, with or without "#"; lines that begin with "//" or ";" are comments."""
    entries = []
    for number, line in _lines(text):
        if line.startswith(("//", ";")):
            continue
        found = _HEX.fullmatch(line)
        if not found:
            raise ImageFileError(f"line {number}: {line[:40]!r} is not a color such as #ff8000")
        entries.append(_entry_of(found[1]))
    return entries


def write_txt(palette: Palette, _: str) -> str:
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
        found = _HEX.fullmatch(color)
        if not found:
            raise ImageFileError(f"line {number}: {line[:40]!r} is not a color such as FFFF8000 (AARRGGBB) or #ff8000")
        digits = found[1]
        if len(digits) == 8 and color[0] != "#":
            digits = digits[2:] + digits[:2]
        entries.append(_entry_of(digits))
    return entries


def write_gpl(palette: Palette, name: str) -> str:
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


def write_css(palette: Palette, _: str) -> str:
    """Custom properties --color-1, --color-2 and so on of :root."""
    lines = (f"  --color-{number}: {color};" for number, color in enumerate(palette.hex, start=1))
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
            entry = _css_color(value)
            if entry:
                entries.append(entry)
            elif value.lower().startswith(_COLOR_BEGINNINGS):
                raise ImageFileError(f"line {line}: {value[:40]!r} is not a color such as #ff8000 or rgb(255, 128, 0)")
    return entries


def write_json(palette: Palette, _: str) -> str:
    """An object with the list "colors"."""
    return '{"colors": [\n' + ",\n".join(f'  "{color}"' for color in palette.hex) + "\n]}\n"


def read_json(text: str) -> list[Entry]:
    """A list of colors such as "#ff8000", or an object with such a list as "colors"."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ImageFileError(f"line {error.lineno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # of a number that is too long, or of brackets that are too deep
        raise ImageFileError("line 1: no JSON that is a palette") from None
    colors = value.get("colors") if isinstance(value, dict) else value
    if not isinstance(colors, list):
        raise ImageFileError('line 1: neither a list of colors nor an object with the list "colors"')
    entries = []
    for number, color in enumerate(colors, start=1):
        found = _HEX.fullmatch(color) if isinstance(color, str) else None
        entry = _entry_of(found[1]) if found else _css_color(color) if isinstance(color, str) else None
        if entry is None:
            raise ImageFileError(f'color {number}: {str(color)[:40]!r} is not a color such as "#ff8000"')
        entries.append(entry)
    return entries


def refuse_alpha(palette: Palette, ending: str) -> None:
    """Raise unless all entries are opaque."""
    if palette.alpha is None:
        return
    alpha = palette.rgba[:, 3]
    for number in (alpha < 255).nonzero()[0][:1].tolist():
        found = f"entry {number + 1} has alpha {alpha[number]}"
        raise ArgumentError(f"{ending} palettes hold opaque colors only, and {found}; use {WITH_ALPHA}")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The numbers and words of lines that are not empty."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _entry_of(digits: str) -> Entry:
    red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
    return red, green, blue, alpha


def _without_comments(text: str) -> str:
    """CSS with its comments blanked, line ends kept. Searching by hand is linear, whatever the file holds."""
    parts, place = [], 0
    while (start := text.find("/*", place)) >= 0:
        end = text.find("*/", start + 2)
        end = len(text) if end < 0 else end + 2
        parts += [text[place:start], " ", "\n" * text.count("\n", start, end)]
        place = end
    return "".join([*parts, text[place:]])


def _css_color(value: str) -> Entry | None:
    digits = _CSS_HEX.fullmatch(value)
    if digits:
        short = len(digits[1]) < 5
        return _entry_of("".join(digit * 2 for digit in digits[1]) if short else digits[1])
    levels = levels_of_name(value)
    if levels:
        return levels
    inside = _CSS_RGB.fullmatch(value)
    words = re.split(r"[\s,/]+", inside[1].strip()) if inside else []
    if len(words) not in (3, 4) or not all(_NUMBER.fullmatch(word) for word in words):
        return None
    numbers = [float(word.rstrip("%")) / (100 if word.endswith("%") else 1) for word in words]
    wholes = [1 if word.endswith("%") else 255 for word in words[:3]] + [1]
    shares = [number / whole for number, whole in zip(numbers, wholes, strict=False)]
    if not all(0 <= share <= 1 for share in shares):
        return None
    red, green, blue, alpha = (math.floor(share * 255 + 0.5) for share in [*shares, 1.0][:4])
    return red, green, blue, alpha
