"""The options that a result was made with: a JSON object in its file, without paths and names."""

import hashlib
import json
from dataclasses import fields
from typing import Any

import numpy.typing as npt

from gpuquant import __version__
from gpuquant.dithering.methods import Dither
from gpuquant.errors import ArgumentError
from gpuquant.fitting.search import KMEANS_DEFAULTS, PaletteSearch
from gpuquant.images.note import MOST_BYTES, shortened
from gpuquant.palettes.palette import Palette, n_colors
from gpuquant.tensors import as_numpy

Options = dict[str, object]
VERSION = "gpuquant"  # the key of the version, which makes no result another one
ABSENT: Options = {  # what a file means that does not say it, whatever the default has become since
    "color_space": "srgb",
    "weighting": 1.0,
    "effort": "default",
    "random_state": 0,
    "init": "k-means++",
    "n_init": 1,
    "max_iter": 300,
    "tol": 1e-4,
    "shared_palette": False,
    "preview": False,
    "keep_profile": False,
    "dither": "none",
}
SEARCHED = {field.name for field in fields(PaletteSearch)} | set(KMEANS_DEFAULTS)
DIGEST_LETTERS = 16  # 64 bits: enough to tell the palettes of one folder apart
MOST_SHOWN, MOST_LETTERS = 3, 60  # options in a message, and letters of each: a file may say anything


def options_of(
    wanted: PaletteSearch | Palette,  # to be searched for, or applied
    *,
    shared: bool = False,  # one search for several photos, whose palette is added when it is found
    preview: bool,
    background: tuple[int, int, int] | None,
    keep_profile: bool,
    dither: Dither | None,
    **pace: Any,  # init, n_init, max_iter, tol
) -> Options:
    """All options that change the picture; not where the work is done, and how the file is compressed."""
    options: Options = {VERSION: __version__}
    if isinstance(wanted, PaletteSearch):
        names = {"color_space": str(wanted.color_space), "effort": str(wanted.effort)}  # which may be NumPy's
        options |= vars(wanted) | names | _pace(KMEANS_DEFAULTS | pace)
    else:
        options |= palette_options(wanted)
    options |= {
        "shared_palette": bool(shared),
        "preview": bool(preview),
        "background": None if background is None else "#" + bytes(background).hex(),
        "keep_profile": bool(keep_profile),
        "dither": str(dither.method) if dither else "none",
        "dither_strength": dither.strength if dither else None,
    }
    return {name: value for name, value in options.items() if value is not None}


def palette_options(palette: Palette) -> Options:
    """The option that stands for a palette: the number of its entries, and a digest of them."""
    return {"palette": f"{n_colors(len(palette))}, sha256 {_digest(palette.rgba)}"}


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


def difference(found: Options, wanted: Options) -> str | None:
    """Say how options differ from the wanted ones, such as "n_colors=4, not n_colors=16"; None where they do not."""
    theirs, ours = ABSENT | found, ABSENT | wanted
    ignored = {VERSION}
    if "palette" in ours and not ours["shared_palette"] and theirs.get("palette") == ours["palette"]:
        ignored |= SEARCHED  # a palette that is given is the same, however it was found
        if ours["dither"] == "none":  # dithers mix other entries where it is fitted to the photo
            ignored.add("shared_palette")
    names = [name for name in wanted | found if name not in ignored and theirs.get(name) != ours.get(name)]
    return f"{_words(found, names)}, not {_words(wanted, names)}" if names else None


def _words(options: Options, names: list[str]) -> str:
    there = [shortened(f"{name}={options[name]!a}", MOST_LETTERS) for name in names if name in options]
    if not there:
        return "without " + ", ".join(shortened(name, MOST_LETTERS) for name in names[:MOST_SHOWN])
    return ", ".join(there[:MOST_SHOWN]) + (", ..." if len(there) > MOST_SHOWN else "")


def _pace(pace: dict[str, Any]) -> Options:
    init = pace["init"]
    return {
        "init": str(init) if isinstance(init, str) else f"sha256 {_digest(as_numpy(init))}",
        "n_init": int(pace["n_init"]),
        "max_iter": int(pace["max_iter"]),
        "tol": float(pace["tol"]),
    }


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:DIGEST_LETTERS]
