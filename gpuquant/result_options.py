"""The options that a result was made with: a JSON object in its file, without paths and names."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gpuquant import __version__
from gpuquant.dithering import Dither
from gpuquant.errors import ArgumentError
from gpuquant.image_note import MOST_BYTES, read_note
from gpuquant.palette import Palette
from gpuquant.palette_entries import as_numpy
from gpuquant.palette_search import PACE, PaletteSearch

Options = dict[str, object]
VERSION = "gpuquant"  # the key of the version, which makes no result another one
DIGEST_LETTERS = 16  # 64 bits: enough to tell the palettes of one folder apart
MOST_SHOWN, MOST_LETTERS = 3, 60  # options in a message, and letters of each: a file may say anything


def options_of(
    wanted: PaletteSearch | Palette | None,  # what is searched for, or applied, or a palette that is not yet known
    *,
    preview: bool,
    background: tuple[int, int, int] | None,
    keep_profile: bool,
    dither: Dither | None,
    **pace: Any,  # init, n_init, max_iter, tol
) -> Options:
    """All options that change the picture; not where the work is done, and how the file is compressed."""
    options: Options = {VERSION: __version__}
    if isinstance(wanted, PaletteSearch):
        options |= vars(wanted) | _pace(PACE | pace)
    else:
        options |= palette_options(wanted) if wanted else {}
        if dither:  # which mixes other entries of a palette that is not that of the photo
            options["shared_palette"] = dither.fitted
    options |= {
        "preview": preview,
        "background": None if background is None else "#" + bytes(background).hex(),
        "keep_profile": keep_profile,
        "dither": dither.method if dither else "none",
        "dither_strength": dither.strength if dither else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def palette_options(palette: Palette) -> Options:
    """The option that stands for a palette: the number of its entries, and a digest of them."""
    return {"palette": f"{len(palette)} colors, sha256 {_digest(palette.rgba)}"}


def options_text(options: Options) -> str:
    """Options as they are written into a file: JSON of ASCII letters.

    Raises
    ------
    ArgumentError
        They have no JSON, or it is too long to be read back.
    """
    try:
        text = json.dumps(options, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"options must be values of JSON to be saved, or None: {error}") from None
    if not isinstance(options, dict) or len(text) > MOST_BYTES:
        raise ArgumentError(f"options must be a dict of at most {MOST_BYTES} bytes of JSON to be saved, or None")
    return text


def read_options(path: str | Path) -> Options | None:
    """The options in a file that `save` wrote; None where there are none, or the file is damaged."""
    note = read_note(path)
    try:
        options = json.loads(note or "null")
    except (ValueError, RecursionError):
        return None
    return options if isinstance(options, dict) else None


def difference(found: Options, wanted: Options) -> str | None:
    """How options differ from the wanted ones, such as "n_colors=4, not n_colors=16"; None where they do not."""
    names = [name for name in wanted | found if name != VERSION and found.get(name) != wanted.get(name)]
    return f"{_words(found, names)}, not {_words(wanted, names)}" if names else None


def _words(options: Options, names: list[str]) -> str:
    there = [_printable(f"{name}={options[name]!a}") for name in names if name in options]
    if not there:
        return "without " + ", ".join(_printable(name) for name in names[:MOST_SHOWN])
    return ", ".join(there[:MOST_SHOWN]) + (", ..." if len(there) > MOST_SHOWN else "")


def _printable(text: str) -> str:
    letters = text.encode("unicode_escape").decode()
    return letters if len(letters) <= MOST_LETTERS else letters[:MOST_LETTERS] + "..."


def _pace(pace: dict[str, Any]) -> Options:
    init = pace["init"]
    return {
        "init": init if isinstance(init, str) else f"sha256 {_digest(as_numpy(init))}",
        "n_init": int(pace["n_init"]),
        "max_iter": int(pace["max_iter"]),
        "tol": float(pace["tol"]),
    }


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:DIGEST_LETTERS]
