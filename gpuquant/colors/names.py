"""Names of colors: those of CSS for its own, and the plain words of name_list.py for all others."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageColor
from torch import Tensor

from gpuquant.colors.name_list import NAMES
from gpuquant.colors.spaces import oklab_from_srgb

CHUNK_COLORS = 4096  # compared with all names at a time
N_NEAREST = 8  # names that a color may choose from
TIMES_AS_FAR = 1.6  # as its nearest name is: the farthest that it may choose,
AS_NEAR = 0.006  # and less than this beyond is no matter: half of what is between neighbors in the list, about
LIGHTNESS_WEIGHT = 0.3  # of a lightness of 0..1 beside chroma: about that of CIELAB, near gray
HALF_CHROMA = 0.05  # at which a step in chroma counts for half of one near gray: about that of CIEDE2000

Levels = tuple[int, ...]  # red, green, blue
Words = dict[Levels, list[tuple[float, str]]]  # the names that fit a color, with their distances, nearest first


def names_of(
    rows: npt.NDArray[np.uint8],  # [K, 3], or [K, 4] with alpha
) -> tuple[str, ...]:
    """A name for each entry, the same only for equal ones; clear ones are "transparent"."""
    return names_of_each([rows])[0]


def names_of_each(palettes: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[str, ...]]:
    """The names of each palette for itself: looking for the words of all together takes a fraction of the time."""
    entries: list[list[Levels]] = [[tuple(row) for row in rows.tolist()] for rows in palettes]
    css = _css_names()
    others = list(dict.fromkeys(entry[:3] for rows in entries for entry in rows if entry[:3] not in css))
    words = dict(zip(others, _fitting_words(others), strict=True))
    return [_names_of_entries(rows, words) for rows in entries]


def _names_of_entries(entries: list[Levels], words: Words) -> tuple[str, ...]:
    names = {entry: "transparent" for entry in entries if entry[3:] == (0,)}
    visible = dict.fromkeys(entry for entry in entries if entry not in names)
    own, nearest = _names_of_colors(list(dict.fromkeys(entry[:3] for entry in visible)), words)
    numbers = Counter(map(_css_spelling, own.values()))
    for entry in visible:
        name = own.pop(entry[:3], "")  # an entry of the same color, but of another opacity, gets a number
        if not name:
            name = nearest[entry[:3]]
            numbers[_css_spelling(name)] += 1
            name += f" {numbers[_css_spelling(name)]}"
        names[entry] = name
    return tuple(names[entry] for entry in entries)


def levels_of_name(name: str) -> tuple[int, int, int, int] | None:
    """Red, green, blue and alpha of a color that CSS has a name for."""
    if name.lower() == "transparent":
        return 0, 0, 0, 0
    if name.lower() not in ImageColor.colormap:
        return None
    levels = ImageColor.getrgb(name)
    return levels[0], levels[1], levels[2], 255


def _names_of_colors(
    colors: list[Levels],  # distinct
    words: Words,
) -> tuple[dict[Levels, str], dict[Levels, str]]:
    """Names that colors have for themselves, as many as can have one; and the best name of each, shared or not.

    The nearer a color is to a name the sooner it gets it; each takes the nearest that is left of those that fit it.
    """
    css = _css_names()
    own = {color: css[color] for color in colors if color in css}
    others = [color for color in colors if color not in own]
    fitting = {color: words[color] for color in others}
    nearest = own | {color: some[0][1] for color, some in fitting.items()}
    taken = set(map(_css_spelling, own.values()))
    wishes = {color: [word for _, word in some if _css_spelling(word) not in taken] for color, some in fitting.items()}
    holders: dict[str, Levels] = {}
    served: set[Levels] = set()
    pairs = ((far, index, word) for index, color in enumerate(others) for far, word in fitting[color])
    for _, index, word in sorted(pairs):
        color = others[index]
        if word in wishes[color] and word not in holders and color not in served:
            holders[word] = color
            served.add(color)
    tried: set[str] = set()
    for color in others:
        if color not in served and _claim(color, wishes, holders, tried):
            tried = set()
    return own | {color: word for word, color in holders.items()}, nearest


def _claim(color: Levels, wishes: dict[Levels, list[str]], holders: dict[str, Levels], tried: set[str]) -> bool:
    """Give a color one of its words, while the holders move on to others of theirs; False if there is no way.

    The method is that of H. Kuhn, 1955, "The Hungarian method for the assignment problem". Words that were tried
    without success are of no use to any later color either, until one succeeds.
    """
    for word in wishes[color]:
        if word not in tried:
            tried.add(word)
            if word not in holders or _claim(holders[word], wishes, holders, tried):
                holders[word] = color
                return True
    return False


def _fitting_words(colors: list[Levels]) -> list[list[tuple[float, str]]]:
    """The names of the list that fit each color, with their distances, nearest first.

    One that is lighter or darker fits about as well as the nearest. One whose hue or chroma is much farther off does
    not: a gray may be a darker gray, but not a brown.
    """
    words, points = _words_and_points()
    found: list[list[tuple[float, str]]] = []
    for looks in _look(torch.tensor(colors, dtype=torch.uint8).reshape(-1, 3)).split(CHUNK_COLORS):
        apart = torch.cdist(looks, points, compute_mode="donot_use_mm_for_euclid_dist")
        far, index = apart.topk(N_NEAREST, largest=False)
        in_color = (points[index] - looks[:, None])[:, :, 1:].norm(dim=2)
        fits = far <= TIMES_AS_FAR * far[:, :1] + AS_NEAR
        fits &= in_color <= TIMES_AS_FAR * in_color[:, :1] + AS_NEAR
        found += [
            [(one, words[word]) for one, word, does_fit in zip(*row, strict=True) if does_fit]
            for row in zip(far.tolist(), index.tolist(), fits.tolist(), strict=True)
        ]
    return found


def _look(
    levels: Tensor,  # [N, 3], 0..255
) -> Tensor:  # [N, 3] float64: lightness, and the two axes of color
    """Points whose distances keep hue and chroma: Oklab with a lightness like that of CIELAB, and less of it.

    Chroma is on a logarithmic scale: people tell gray from brownish gray sooner than one vivid red from another.
    The lightness is Ottosson's L_r, of "Okhsv and Okhsl: two new color spaces for color picking", 2021.
    """
    lightness, axes = oklab_from_srgb(levels).tensor_split([1], dim=1)
    k1, k2 = 0.206, 0.03
    k3 = (1 + k1) / (1 + k2)
    shifted = k3 * lightness - k1
    lightness = (shifted + (shifted**2 + 4 * k2 * k3 * lightness).sqrt()) / 2
    chroma = axes.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return torch.cat([LIGHTNESS_WEIGHT * lightness, axes / chroma * HALF_CHROMA * (chroma / HALF_CHROMA).log1p()], 1)


def _css_spelling(name: str) -> str:
    """The name in one word: "steelblue" and "steel blue" are one name."""
    return name.replace(" ", "")


@cache
def _css_names() -> dict[Levels, str]:
    """The name of each color of CSS, the first in the alphabet: "gray", not "grey"."""
    return {ImageColor.getrgb(name): name for name in sorted(ImageColor.colormap, reverse=True)}


@cache
def _words_and_points() -> tuple[list[str], Tensor]:  # [W, 3] float64
    """The names of the list, once for each of their colors, and where these colors are."""
    words, colors = [], []
    for name, shades in re.findall(r"([a-z -]+?)((?: [0-9a-f]{6}\b)+)", NAMES):
        for shade in shades.split():
            words.append(name.strip())
            colors.append(tuple(bytes.fromhex(shade)))
    return words, _look(torch.tensor(colors, dtype=torch.uint8))
