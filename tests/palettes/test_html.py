"""Palettes in notebooks, read by Python's own parser of HTML."""

from html.parser import HTMLParser

import numpy as np
import torch

from gpuquant.palettes.html import palette_html
from gpuquant.palettes.palette import Palette


class Page(HTMLParser):
    """Texts and backgrounds of a page whose tags are closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.fills: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)
        for name, value in attributes:
            assert name == "style"
            self.fills += (value or "").split("background:")[1:]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_swatches_have_colors_names_and_shares() -> None:
    page = Page(Palette("red,white", shares=[0.876, 0.124])._repr_html_())
    assert page.texts == ["#ff0000", "red", "87.60%", "#ffffff", "white", "12.40%"]
    assert page.fills == ["#ff0000", "#ffffff"]
    assert page.tags == {"div", "figure", "code", "br"}
    assert Page(Palette(torch.tensor([[1.0, 0, 0]]))._repr_html_()).texts == ["#ff0000", "red"]
    assert Page(Palette(np.zeros((0, 3), np.uint8))._repr_html_()).texts == []


def test_transparency_is_shown() -> None:
    page = Page(Palette(["#ff000080", "white"])._repr_html_())
    assert page.texts == ["#ff000080", "red", "alpha 50%", "#ffffffff", "white", "alpha 100%"]
    assert all(
        fill.startswith(f"linear-gradient({color},{color}),")
        for fill, color in zip(page.fills, page.texts[::3], strict=True)
    )


def test_many_entries_are_summed_up() -> None:
    rows = np.arange(900, dtype=np.uint16).view(np.uint8)[:900].reshape(-1, 3)
    text = Palette(rows, shares=np.full(300, 1 / 300))._repr_html_()
    page = Page(text)
    assert page.texts[-1] == "and 236 more"
    assert page.texts[:-1:3] == list(Palette(rows).hex[:64])
    assert page.texts[1:-1:3] == list(Palette(rows).names()[:64])
    assert len(text) < 30_000


def test_names_are_escaped() -> None:
    page = Page(palette_html(("#000000",), ('</div><script>"&',), None, 0))
    assert "".join(page.texts) == '#000000</div><script>"&'
