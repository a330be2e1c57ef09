"""The page as text: what it says, its policy, and names that would like to be more than names."""

import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gpuquant.errors import ImageFileError
from gpuquant.report.folder import PAGE, ReportFolder
from gpuquant.report.page import page_of, write_page
from gpuquant.report.record import PhotoRecord

HOSTILE = "x</script><script>alert(1)</script><!--\u2028&\"'" + os.fsdecode(b"\xff")
GOOD = PhotoRecord(
    "b.jpg", "../b.jpg", "b.png", "1-before.jpg", "1-after.jpg", width=4000, height=3000, n_colors=2,
    colors=("#000000", "#ff0000"), shares=(0.75, 0.25), mse=10.0, psnr=42.9, ssim=0.98123456, bytes_in=2_000_000,
    bytes_out=500_000, seconds={"read": 0.5, "map": 1.25}, settings="n colors 2",
)  # fmt: skip
BAD = PhotoRecord(HOSTILE, HOSTILE, HOSTILE, error=HOSTILE, warnings=(HOSTILE,), settings=HOSTILE)


class Page(HTMLParser):
    """Tags, texts of scripts and styles, and attributes of a page."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " "
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in self.inside:
            self.inside[self.tags[-1]].append(data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            self.tags.append(f"/{tag}")

    @property
    def photos(self) -> list[dict[str, Any]]:
        data = json.loads(self.inside["script"][0])
        return [dict(zip(data["fields"], photo, strict=True)) for photo in data["photos"]]


def test_the_data_are_those_of_the_records() -> None:
    page = Page(page_of([GOOD, PhotoRecord("a.jpg", mse=0.0)], title="out"))
    first, second = page.photos
    assert [first["name"], second["name"]] == ["a.jpg", "b.jpg"]
    assert (first["mse"], first["psnr"], first["source"], first["colors"]) == (0, None, None, "")
    assert (second["source"], second["target"]) == ("../b.jpg", "./b.png")
    assert (second["colors"], second["shares"], second["ssim"]) == ("#000000#ff0000", [7500, 2500], 0.9812)
    words = json.loads(page.inside["script"][0])["words"]
    assert [words[place] for place in second["names"]] == ["black", "red"]


def test_colors_that_are_there_have_a_share() -> None:
    """However small it is; 0 is that of an entry that no pixel has."""
    record = PhotoRecord("a", colors=("#000000", "#ff0000", "#00ff00"), shares=(1 - 1e-9, 1e-9, 0.0))
    assert Page(page_of([record], title="out")).photos[0]["shares"] == [10_000, 1, 0]


def test_the_totals() -> None:
    text = " ".join(Page(page_of([GOOD, GOOD, BAD], title="out", n_left=3)).text.split())
    assert "photos 3 1 failed" in text
    assert "megapixels 24.0" in text
    assert "size of results 1 MB 25% of 4 MB" in text
    assert "PSNR, median 42.9 dB" in text
    assert "work 3.5 s 1.75 s a photo" in text
    assert "3 more photos are not on this page yet" in text
    assert "1 failed" in text
    assert "before and after gpuquant: n colors 2" in text
    assert "stopped" not in Page(page_of([GOOD], title="out")).text


def test_a_page_says_no_more_than_is_known() -> None:
    """Of results without their photos, whose sizes are known."""
    result = replace(GOOD, before=None, bytes_in=None, mse=None, psnr=None, ssim=None, seconds={})
    text = " ".join(Page(page_of([result, result], title="out")).text.split())
    assert "Results of gpuquant" in text
    assert "before and after" not in text
    assert "size of results 1 MB" in text
    assert "% of" not in text
    assert "none failed" not in text  # who knows
    assert "Photos before and after gpuquant" in Page(page_of([result, GOOD], title="out")).text


def test_a_page_of_nothing_but_failures() -> None:
    page = Page(page_of([PhotoRecord("a.jpg", error="no such file")], title="out"))
    assert "svg" not in page.tags
    assert page.photos[0]["error"] == "no such file"


def test_hostile_names_stay_names() -> None:
    data = page_of([BAD, GOOD], title=HOSTILE)
    page = Page(data)
    assert page.tags.count("script") == 2
    assert page.tags.count("style") == 1
    assert {photo["name"] for photo in page.photos} == {HOSTILE, "b.jpg"}
    json_text = page.inside["script"][0]
    assert not set(json_text) & set("<>&\u2028\u2029")
    assert b"<script>alert" not in data
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        assert name != "style"
        assert name not in ("src", "href"), value


def test_the_policy_lets_nothing_run_but_the_page_itself() -> None:
    page = Page(page_of([GOOD], title="out"))
    (policy,) = [value for tag, name, value in page.attributes if name == "content" and "default-src" in (value or "")]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind, text in (("style", page.inside["style"][0]), ("script", page.inside["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "'self' file:"
    assert set(rules) == {"default-src", "base-uri", "form-action", "style-src", "script-src", "img-src"}


def test_the_script_makes_no_markup_of_texts() -> None:
    script = Page(page_of([GOOD], title="out")).inside["script"][1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|\bFunction\b", script)


def test_a_thousand_photos_are_less_than_a_megabyte() -> None:
    colors = tuple(f"#{number * 65793:06x}" for number in range(16))
    rows = [
        PhotoRecord(
            f"holiday/2026/IMG_{number:05}.jpg", f"../holiday/2026/IMG_{number:05}.jpg", f"2026/IMG_{number:05}.png",
            f"{number:020x}-before.jpg", f"{number:020x}-after.jpg", width=6000, height=4000, n_colors=16,
            colors=colors, shares=(0.0625,) * 16, mse=123.456, psnr=34.5678, ssim=0.98765, bytes_in=12_345_678,
            bytes_out=3_456_789, seconds=dict.fromkeys(("read", "count", "cluster", "map"), 0.12345),
            settings="n colors 16",
        )
        for number in range(1000)
    ]  # fmt: skip
    assert len(page_of(rows, title="out")) < 1_000_000


def test_the_page_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    folder = ReportFolder(out)
    assert write_page(folder, [GOOD]) == folder.page
    assert (out / PAGE).read_bytes() == page_of([GOOD], title="out")
    assert [path.name for path in out.iterdir()] == [PAGE]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageFileError, match="cannot be written"):
        write_page(ReportFolder(tmp_path / "file"), [GOOD])
