"""A palette in a notebook: swatches with their colors, names and shares."""

from html import escape

import numpy as np
import numpy.typing as npt

MOST_SHOWN = 64  # entries: what a screen holds

_CHECKS = "repeating-conic-gradient(#bbb 0% 25%,#fff 0% 50%) 0 0/16px 16px"  # below what is transparent
_SWATCH = "height:56px;border:1px solid rgba(128,128,128,.6);border-radius:4px"
_FIGURE = "width:104px;margin:0;line-height:1.35;overflow-wrap:anywhere"
_ALL = "display:flex;flex-wrap:wrap;gap:10px;font:12px sans-serif"


def palette_html(
    colors: tuple[str, ...],  # of the entries that are shown: "#rrggbb" or "#rrggbbaa"
    names: tuple[str, ...],
    shares: npt.NDArray[np.float64] | None,
    n_more: int,
) -> str:
    """Figures in a row that wraps. Texts have the ink of the page, so that they are read on light and dark ones."""
    figures = []
    for place, (color, name) in enumerate(zip(colors, names, strict=True)):
        lines = [f"<code>{escape(color)}</code>", escape(name)]
        if shares is not None:
            lines.append(f"{shares[place]:.2%}")
        if len(color) == 9:
            lines.append(f"alpha {int(color[7:], 16) / 255:.0%}")
        fill = f"linear-gradient({escape(color)},{escape(color)}),{_CHECKS}" if len(color) == 9 else escape(color)
        swatch = f'<div style="{_SWATCH};background:{fill}"></div>'
        figures.append(f'<figure style="{_FIGURE}">{swatch}{"<br>".join(lines)}</figure>')
    more = f"<div>and {n_more} more</div>" if n_more else ""
    return f'<div style="{_ALL}">{"".join(figures)}{more}</div>'
