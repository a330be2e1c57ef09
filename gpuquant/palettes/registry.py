"""The one table of formats of palettes in files, by ending. It imports nothing heavy: the command line reads it."""

from dataclasses import dataclass
from typing import Literal

from gpuquant.arguments import in_words


@dataclass(frozen=True)
class PaletteFormat:
    """The writer and the reader of a format, and its limits; functions are "module:function"."""

    write: str  # of the entries, and the palette's name, or the prefix of its variables
    read: str  # of the text, the bytes, or the picture's path
    kind: Literal["text", "bytes", "picture"] = "text"
    shares: str = ""  # of the text, where it says them
    has_variables: bool = False
    holds_alpha: bool = True  # of every entry
    max_entries: int | None = None  # if fewer than any palette may have


FORMATS = {
    ".hex": PaletteFormat("gpuquant.palettes.text_formats:write_hex", "gpuquant.palettes.text_formats:read_hex"),
    ".gpl": PaletteFormat(
        "gpuquant.palettes.text_formats:write_gpl", "gpuquant.palettes.text_formats:read_gpl", holds_alpha=False
    ),
    ".ase": PaletteFormat(
        "gpuquant.palettes.adobe_formats:write_ase",
        "gpuquant.palettes.adobe_formats:read_ase",
        "bytes",
        holds_alpha=False,
    ),
    ".act": PaletteFormat(
        "gpuquant.palettes.adobe_formats:write_act",
        "gpuquant.palettes.adobe_formats:read_act",
        "bytes",
        holds_alpha=False,
        max_entries=256,
    ),
    ".txt": PaletteFormat("gpuquant.palettes.text_formats:write_txt", "gpuquant.palettes.text_formats:read_txt"),
    ".css": PaletteFormat(
        "gpuquant.palettes.text_formats:write_css",
        "gpuquant.palettes.text_formats:read_css",
        shares="gpuquant.palettes.text_formats:css_shares",
        has_variables=True,
    ),
    ".json": PaletteFormat(
        "gpuquant.palettes.text_formats:write_json",
        "gpuquant.palettes.text_formats:read_json",
        shares="gpuquant.palettes.text_formats:json_shares",
    ),
    ".png": PaletteFormat("gpuquant.palettes.png_format:write_png", "gpuquant.palettes.png_format:read_png", "picture"),
}


def endings() -> str:
    """All endings, in words."""
    return in_words(FORMATS)


def endings_with_alpha() -> str:
    """The endings of formats that hold every palette, in words."""
    return in_words(ending for ending, form in FORMATS.items() if form.holds_alpha)
