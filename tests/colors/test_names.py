"""Names of colors, beside what people call them."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import ImageColor

from gpuquant.colors.names import levels_of_name
from gpuquant.palettes.palette import Palette

# A name must have one of the first words, and no other words than these and the second.
DESIGNERS = [
    ("#24201d", "black brown gray charcoal", "near very dark blackish brownish warm"),
    ("#3b2a1f", "brown", "very dark deep blackish grayish chocolate"),
    ("#8b5a2b", "brown", "medium strong golden yellowish"),
    ("#c19a6b", "tan brown camel", "light yellowish dark"),
    ("#f5e6c8", "cream beige", "pale light very"),
    ("#2f4f4f", "darkslategray", ""),
    ("#708090", "slategray", ""),
    ("#87ceeb", "skyblue", ""),
    ("#556b2f", "darkolivegreen", ""),
    ("#36454f", "slate gray charcoal blue", "dark very bluish grayish"),
    ("#800020", "burgundy maroon red wine", "dark deep purplish"),
    ("#722f37", "wine burgundy red maroon", "dark deep grayish dusty"),
    ("#b76e79", "rose pink red", "dusty dark muted old grayish light"),
    ("#dcae96", "pink beige tan peach rose salmon", "dusty light pale grayish brownish pinkish muted dark"),
    ("#e2725b", "terracotta coral salmon red orange", "light reddish burnt"),
    ("#cc7722", "ochre orange brown", "dark burnt brownish light"),
    ("#e1ad01", "mustard gold yellow amber", "dark deep golden"),
    ("#fffdd0", "cream yellow ivory", "pale very light"),
    ("#98ff98", "green mint", "pale light bright"),
    ("#9caf88", "green sage", "grayish light pale muted yellowish"),
    ("#355e3b", "green", "dark hunter forest deep grayish"),
    ("#40e0d0", "turquoise", ""),
    ("#004d4d", "teal cyan", "dark very deep"),
    ("#4a7ba6", "blue", "steel medium grayish"),
    ("#0f52ba", "blue sapphire cobalt", "deep royal strong vivid medium"),
    ("#1f2a44", "navy blue", "dark very deep blackish grayish midnight"),
    ("#b57edc", "purple lavender violet lilac orchid", "light bright medium"),
    ("#483248", "purple eggplant plum", "dark grayish deep very"),
    ("#e0b0ff", "mauve lavender purple violet lilac", "pale light bright"),
    ("#f4c2c2", "pink", "pale light baby soft"),
    ("#fa8072", "salmon", ""),
    ("#ffcba4", "peach orange", "pale light"),
    ("#7b3f00", "brown chocolate", "dark reddish strong deep"),
    ("#b87333", "copper brown orange bronze", "light reddish brownish dark medium"),
    ("#d0d0ce", "gray silver", "light"),
    ("#fafaf7", "white", "off near"),
    ("#0a0a0c", "black", "near"),
    ("#483c32", "taupe brown gray", "dark grayish brownish"),
    ("#c9c0b0", "beige gray taupe greige", "light warm brownish grayish pale dark"),
    ("#4f7942", "green", "fern medium moss dark grayish leaf"),
]
# Colors of the year and textiles of Pantone, RAL Classic, Crayola's crayons and the color survey of xkcd.
PUBLISHED = [
    ("#0f4c81", "blue navy", "dark deep classic medium"),  # classic blue
    ("#88b04b", "green", "yellow yellowish light olive apple leaf grass medium"),  # greenery
    ("#955251", "red brown maroon marsala wine rose", "reddish dusty grayish medium dark brick"),  # marsala
    ("#92a8d1", "blue periwinkle", "light grayish pale lavender cornflower powder steel"),  # serenity
    ("#a47864", "brown", "light reddish grayish mocha"),  # mocha mousse
    ("#5f4b8b", "violet purple indigo", "blue medium grayish dusty dark"),  # ultra violet
    ("#009b77", "green emerald teal", "bluish sea jade"),  # emerald
    ("#bb2649", "red crimson magenta raspberry rose", "pinkish purplish deep strong dark"),  # viva magenta
    ("#d0b084", "beige tan", "dark light yellowish"),  # beige
    ("#45322e", "brown", "dark very reddish grayish chocolate"),  # chocolate brown
    ("#6d342d", "red brown", "dark reddish brick rust deep"),  # oxide red
    ("#383e42", "gray charcoal", "dark very bluish slate"),  # anthracite gray
    ("#6c4675", "purple violet lilac plum", "dark medium grayish dusty"),  # blue lilac
    ("#7ba05b", "green", "asparagus medium moss sage yellowish leaf grayish light"),  # asparagus
    ("#ef98aa", "pink rose", "medium light"),  # mauvelous
    ("#979aaa", "gray", "bluish blue purplish cool light medium slate"),  # manatee
    ("#c0737a", "rose pink", "dusty dark muted old"),  # dusty rose
    ("#3b638c", "blue", "denim dark steel medium grayish"),  # denim
    ("#735c12", "brown olive", "dark mud yellowish"),  # mud
    ("#380835", "purple eggplant plum", "dark very deep"),  # eggplant
]
# A name must have one of the first words, and none of the second.
SOMEBODY_ELSES = [
    ("#24201d", "black brown gray", "blue"),
    ("#4a3728", "brown", ""),
    ("#6b4423", "brown", ""),
    ("#a67b5b", "brown tan", ""),
    ("#d2b48c", "tan", ""),
    ("#e8dcc8", "beige cream white off-white eggshell linen", ""),
    ("#1c2833", "blue black navy", "light pale bright"),
    ("#34495e", "blue slate", ""),
    ("#5d6d7e", "gray slate", ""),
    ("#7f8c8d", "gray", ""),
    ("#95a5a6", "gray", ""),
    ("#b03a2e", "red brick", ""),
    ("#e74c3c", "red", ""),
    ("#f39c12", "orange amber", ""),
    ("#f1c40f", "yellow gold", ""),
    ("#27ae60", "green", ""),
    ("#16a085", "teal green turquoise", ""),
    ("#8e44ad", "purple violet", ""),
    ("#fadbd8", "pink rose", ""),
    ("#4b5320", "olive green", "brown gray"),
    ("#101010", "black", ""),
    ("#f8f8f8", "white", ""),
    ("#5c4a5a", "purple mauve gray", "blue"),
    ("#c0a080", "tan beige brown", ""),
    ("#3d5a80", "blue", ""),
]


def name_of(color: str) -> str:
    (name,) = Palette(np.array([ImageColor.getrgb(color)], np.uint8)).names()
    return name


@pytest.mark.parametrize(("color", "needed", "also"), DESIGNERS + PUBLISHED)
def test_names_are_those_that_people_accept(color: str, needed: str, also: str) -> None:
    name = name_of(color)
    words = set(name.split())
    assert words & set(needed.split()), name
    assert words <= set(f"{needed} {also}".split()), name


@pytest.mark.parametrize(("color", "needed", "unfit"), SOMEBODY_ELSES)
def test_names_agree_with_those_of_somebody_else(color: str, needed: str, unfit: str) -> None:
    name = name_of(color)
    words = set(name.split())
    assert words & set(needed.split()), name
    assert not words & set(unfit.split()), name


def test_colors_of_css_have_its_names_or_the_first_synonyms() -> None:
    names = sorted(ImageColor.colormap)
    colors = [ImageColor.getrgb(name) for name in names]
    expected = tuple(names[colors.index(color)] for color in colors)
    assert Palette(np.array(colors, np.uint8)).names() == expected
    assert {"gray", "aqua", "fuchsia", "darkslategray"} <= set(expected)
    assert not {name for name in expected if "grey" in name}
    assert all(levels_of_name(name) == (*color, 255) for name, color in zip(expected, colors, strict=True))


# Hues in degrees, as HSV has them, of what people call so.
HUES = {
    "red": (325, 25),
    "orange": (8, 48),
    "brown": (0, 50),
    "yellow": (40, 80),
    "olive": (45, 90),
    "green": (60, 175),
    "teal": (155, 200),
    "turquoise": (155, 190),
    "cyan": (170, 205),
    "blue": (180, 270),
    "indigo": (235, 285),
    "violet": (235, 290),
    "purple": (255, 325),
    "magenta": (285, 340),
    "pink": (290, 20),
}


@pytest.mark.parametrize("value", [0.5, 0.75, 1.0])
def test_hues_of_vivid_colors(value: float) -> None:
    found = 0
    for hue in range(1, 360, 4):
        levels = [round(255 * level) for level in colorsys.hsv_to_rgb(hue / 360, 0.9, value)]
        (name,) = Palette(np.array([levels], np.uint8)).names()
        word = name.split()[-1]
        if word in HUES:
            found += 1
            first, last = HUES[word]
            assert (hue - first) % 360 <= (last - first) % 360, (hue, name)
    assert found > 50


def test_lightness_of_dark_and_light() -> None:
    rows = np.random.RandomState(0).randint(0, 256, (3000, 3)).astype(np.uint8)
    luma = rows @ [0.299, 0.587, 0.114]
    for row, light in zip(rows, luma.tolist(), strict=True):
        words = Palette(row[None]).names()[0].split()
        if "pale" in words or "light" in words or "white" in words:
            assert light > 85, (row, words)
        if "dark" in words:
            assert light < 190, (row, words)  # such as of dark beige
        if {"very", "dark"} <= set(words) or "black" in words:
            assert light < 70, (row, words)


def test_grays_are_gray() -> None:
    of_css = {"dimgray", "darkgray", "lightgray", "gainsboro", "whitesmoke"}
    nouns = {"black", "charcoal", "gray", "silver", "white"}
    words = nouns | {"near", "blackish", "very", "dark", "medium", "dim", "steel", "light", "pale"}
    for level in range(1, 255):
        for row in ([level] * 3, [level, level + 1, level], [level, level, level + 1]):
            name = name_of("#" + bytes(row).hex())
            assert name in of_css or (set(name.split()) <= words and name.split()[-1] in nouns), name


@pytest.mark.parametrize("n_colors", [8, 16, 64, 256, 4096])
def test_entries_that_differ_have_names_that_differ(n_colors: int) -> None:
    rows = np.random.RandomState(n_colors).randint(0, 256, (n_colors, 3)).astype(np.uint8)
    names = Palette(rows).names()
    assert len(set(names)) == len(np.unique(rows, axis=0))
    assert Palette(rows.copy()).names() == names
    if n_colors <= 16:
        assert not any(character.isdigit() for character in "".join(names))


def test_a_crowd_of_browns_is_numbered_in_its_order() -> None:
    rows = np.array([[120 + one, 74, 42 + two] for one in range(4) for two in range(4)], np.uint8)
    names = Palette(rows).names()
    assert len(set(names)) == 16
    assert all("brown" in name for name in names)
    numbers = [int(name.split()[-1]) for name in names if name[-1].isdigit()]
    assert numbers == list(range(2, 2 + len(numbers)))


def test_browns_and_grays_find_other_words_before_numbers() -> None:
    assert name_of("#4b2f1c") == name_of("#3e2717") == "dark brown"
    assert Palette(np.array([[0x4B, 0x2F, 0x1C], [0x3E, 0x27, 0x17]], np.uint8)).names() == (
        "dark brown",
        "very dark brown",
    )
    grays = Palette(np.repeat(np.arange(0, 256, 17, dtype=np.uint8)[:, None], 3, axis=1)).names()
    assert len(set(grays)) == 16
    assert not any(name[-1].isdigit() for name in grays)


def test_a_color_moves_on_to_another_name_for_one_that_has_no_other() -> None:
    first, second, third = ([0x7A, 0x7E, 0x3D], [0x87, 0x72, 0x24], [0x76, 0x72, 0x24])
    assert Palette(np.array([first, second], np.uint8)).names() == ("olive", "light olive brown")
    assert name_of("#767224") == "olive"
    names = Palette(np.array([first, second, third], np.uint8)).names()
    assert names == ("grayish olive", "light olive brown", "olive")


def test_grays_among_grays_do_not_become_browns() -> None:
    rows = np.array([[level, level, level - 1] for level in range(100, 180, 4)], np.uint8)
    words = {word for name in Palette(rows).names() for word in name.split() if not word.isdigit()}
    assert words <= {"medium", "dark", "dim", "steel", "light", "gray", "silver"}


def test_css_keeps_its_name_from_others_that_are_near() -> None:
    rows = np.array([[0x46, 0x83, 0xB4], [0x46, 0x82, 0xB4]], np.uint8)
    near, exact = Palette(rows).names()
    assert exact == "steelblue"
    assert near.replace(" ", "") != exact
    assert Palette(rows[:1]).names() == ("steel blue",)


def test_equal_entries_share_a_name() -> None:
    rows = np.array([[75, 47, 28], [255, 99, 71], [75, 47, 28], [255, 99, 71]], np.uint8)
    assert Palette(rows).names() == ("dark brown", "tomato", "dark brown", "tomato")


def test_clear_entries_are_transparent_and_partly_clear_ones_have_the_names_of_their_colors() -> None:
    rows = np.array([[255, 0, 0], [255, 0, 0], [0, 0, 0], [255, 0, 0], [75, 47, 28]], np.uint8)
    palette = Palette(rows, np.array([128, 0, 0, 255, 9], np.uint8))
    assert palette.names() == ("red", "transparent", "transparent", "red 2", "dark brown")
    assert Palette(rows[:1], np.array([1], np.uint8)).names() == ("red",)


def test_tensors_and_no_entries() -> None:
    rows = np.random.RandomState(3).randint(0, 256, (20, 3)).astype(np.uint8)
    assert Palette(torch.from_numpy(rows)).names() == Palette(rows).names()
    assert Palette(np.zeros((0, 3), np.uint8)).names() == ()
    assert Palette(np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8)).names() == ()
