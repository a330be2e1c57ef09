"""The page: HTML of records. Its template, style and script are files beside this one."""

import base64
import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from gpuquant import __version__
from gpuquant.colors.names import names_of_each
from gpuquant.errors import size_in_words
from gpuquant.images.targets import whole_target
from gpuquant.locations import Place, make_folder
from gpuquant.report.charts import bytes_chart, psnr_chart
from gpuquant.report.folder import FILES, GENERATOR, ReportFolder, link_to
from gpuquant.report.record import PhotoRecord

SHARE_UNITS = 10_000  # shares are integers there: hundredths of a per cent
DIGITS = 4  # of other numbers, which is more than people tell apart
ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}  # in JSON they stand within texts alone


def write_page(folder: ReportFolder, records: Sequence[PhotoRecord], *, n_left: int = 0) -> Place:
    """Write the page of a folder, whole or not at all: of all records; and how many photos have none yet.

    Raises
    ------
    ImageFileError
        It cannot be written.
    """
    make_folder(folder.folder)
    place = folder.folder.resolve() if isinstance(folder.folder, Path) else folder.folder
    page = page_of([folder.to_share(record) for record in records], title=place.name or "results", n_left=n_left)
    with whole_target(folder.page) as file:
        file.write(page)
    return folder.page


def page_of(records: Sequence[PhotoRecord], *, title: str, n_left: int = 0) -> bytes:
    """The page as UTF-8; what is none in the name of a photo is a reference."""
    from jinja2 import Environment, StrictUndefined

    cut = len(_common_folder([record.name for record in records]))
    ordered = sorted((replace(record, name=record.name[cut:]) for record in records), key=lambda record: record.name)
    style, script, template = (_part(name) for name in ("page.css", "page.js", "page.html"))
    there = [record for record in ordered if record.error is None]
    psnrs = [record.psnr for record in there if record.psnr is not None]
    settings = {record.settings for record in there}
    text = (
        Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            title=title,
            generator=GENERATOR + __version__ + '">',
            policy=_policy(style, script),
            style=style,
            script=script,
            data=_data(ordered),
            heading=f"{'Photos before and after' if any(one.before for one in there) else 'Results of'} gpuquant",
            settings=next(iter(settings)) if len(settings) == 1 else None,
            n_left=n_left,
            n_failed=len(ordered) - len(there),
            n_warned=sum(bool(record.warnings) for record in ordered),
            totals=_totals(ordered, there),
            charts=[
                chart
                for chart in (
                    psnr_chart(psnrs, sum(record.is_lossless for record in there)),
                    bytes_chart(_known(there, "bytes_in"), _known(there, "bytes_out")),
                )
                if chart
            ],
        )
    )
    return text.encode("utf-8", "xmlcharrefreplace")


def _common_folder(names: Sequence[str]) -> str:
    """The folder that all photos lie in, with its slash: nobody needs to read it on each."""
    common = []
    for level in zip(*(name.split("/")[:-1] for name in names), strict=False):
        if len(set(level)) > 1:
            break
        common.append(f"{level[0]}/")
    return "".join(common)


def _part(name: str) -> str:
    return (files("gpuquant.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Allow this style, this script, and pictures beside the page: without a host 'self' is none, and `file:` is."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    of_style, of_script = (f"'sha256-{one}'" for one in hashes)
    allowed = f"default-src 'none'; img-src 'self' file:; style-src {of_style}; script-src {of_script}"
    return f"{allowed}; base-uri 'none'; form-action 'none'"


def _totals(records: Sequence[PhotoRecord], there: Sequence[PhotoRecord]) -> list[tuple[str, str, str]]:
    """Figures of all photos: what, the figure, and what stands beside it."""
    n_failed = len(records) - len(there)
    found = [("photos", str(len(records)), f"{n_failed} failed" if n_failed else "")]
    n_pixels = sum((record.width or 0) * (record.height or 0) for record in there)
    if n_pixels:
        found.append(("megapixels", f"{n_pixels / 1e6:,.1f}", ""))
    pairs = [(record.bytes_in, record.bytes_out) for record in there]
    known = [(before, after) for before, after in pairs if before and after is not None]
    if known:
        before, after = (sum(column) for column in zip(*known, strict=True))
        beside = f"{after / before:.0%} of {size_in_words(before)}"
        beside += "" if len(known) == len(there) else f", of {len(known)} photos"
        found.append(("size of results", size_in_words(after), beside))
    elif sizes := _known(there, "bytes_out"):
        found.append(("size of results", size_in_words(sum(sizes)), ""))
    psnrs = [record.psnr for record in there if record.psnr is not None]
    if psnrs:
        beside = f"{min(psnrs):.1f} to {max(psnrs):.1f}" if len(psnrs) > 1 else ""
        found.append(("PSNR, median", f"{statistics.median(psnrs):.1f} dB", beside))
    ssims = [record.ssim for record in there if record.ssim is not None]
    if ssims:
        found.append(("SSIM, median", f"{statistics.median(ssims):.3f}", f"lowest {min(ssims):.3f}"))
    seconds = [sum(record.seconds.values()) for record in there if record.seconds]
    if seconds:
        beside = f"{statistics.median(seconds):.2f} s a photo"
        found.append(("work", f"{sum(seconds):,.1f} s", beside))
    return found


def _known(records: Sequence[PhotoRecord], name: str) -> list[int]:
    return [value for record in records if (value := getattr(record, name)) is not None]


def _data(records: Sequence[PhotoRecord]) -> str:
    """All records as JSON for a script element: a list for each photo, and each name of a color once."""
    words: dict[str, int] = {}
    palettes = [np.array([list(bytes.fromhex(color[1:])) for color in one.colors], np.uint8) for one in records]
    rows = [_row(*pair, words) for pair in zip(records, names_of_each(palettes), strict=True)]
    fields = list(rows[0]) if rows else []
    photos = [list(row.values()) for row in rows]
    data = {"files": FILES + "/", "fields": fields, "words": list(words), "photos": photos}
    return json.dumps(data, separators=(",", ":")).translate(ESCAPED)


def _row(record: PhotoRecord, names: tuple[str, ...], words: dict[str, int]) -> dict[str, object]:
    """A photo in the page's data, by the names that page.js knows."""
    return {
        "name": record.name,
        "source": link_to(record.source),
        "target": link_to(record.target),
        "before": record.before,
        "after": record.after,
        "error": record.error,
        "width": record.width,
        "height": record.height,
        "nColors": record.n_colors,
        "colors": "".join(record.colors),
        "shares": [round(share * SHARE_UNITS) or int(share > 0) for share in record.shares],
        "names": [words.setdefault(name, len(words)) for name in names],
        "mse": _rounded(record.mse),
        "psnr": _rounded(record.psnr),
        "ssim": _rounded(record.ssim),
        "bytesIn": record.bytes_in,
        "bytesOut": record.bytes_out,
        "seconds": {stage: _rounded(seconds) for stage, seconds in record.seconds.items()},
        "warnings": record.warnings,
        "settings": record.settings,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.{DIGITS}g}")
