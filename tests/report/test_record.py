"""Records, written as JSON and read back; whatever else is there is no record."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.report.page import page_of
from gpuquant.report.record import PhotoRecord, record_of

FULL = PhotoRecord(
    "holiday/a.jpg", "../holiday/a.jpg", "a.png", "1-before.jpg", "1-after.jpg", None, 40, 30, 2,
    ("#000000ff", "#ffffff80"), (0.75, 0.25), 12.5, 37.2, -0.1, 1000, 10, {"read": 0.5, "map": 1}, ("odd",),
    "n colors 2",
)  # fmt: skip


def test_a_record_is_read_back() -> None:
    assert record_of(json.loads(json.dumps(asdict(FULL)))) == FULL
    assert record_of({"name": "a.jpg", "status": "written"}) == PhotoRecord("a.jpg")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"name": None},
        {"width": -1},
        {"width": 2.5},
        {"width": True},
        {"bytes_in": 10**400},
        {"psnr": "37"},
        {"psnr": float("nan")},
        {"psnr": float("inf")},
        {"mse": True},
        {"colors": "#000000"},
        {"colors": ["#000000", "url(http://host)"]},
        {"colors": ["#000000", 3]},
        {"colors": ["#000000", "#ffffff80"]},
        {"colors": ["#000000"] * 25, "shares": [0.04] * 25},
        {"source": "\ud800"},
        {"target": "a\0b"},
        {"shares": [1.0]},
        {"seconds": {"read": "long"}},
        {"seconds": [1, 2]},
        {"warnings": [None]},
    ],
)
def test_what_is_none(change: dict[str, Any]) -> None:
    assert record_of(asdict(FULL) | {"colors": list(FULL.colors), "shares": [0.75, 0.25], "warnings": []}) is not None
    assert record_of(json.loads(json.dumps(asdict(FULL) | change))) is None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(asdict(FULL))) | st.text(), inner),
)
TEXTS = st.text(st.characters(), max_size=9)  # with halves of surrogate pairs
COLORS = st.lists(st.sampled_from(["#000000", "#ff00ff", "#00000000", "#000000ff"]), max_size=26)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("source", "target", "before", "after", "error", "settings"), TEXTS | st.none()),
    **dict.fromkeys(("width", "height", "n_colors", "bytes_in", "bytes_out"), st.integers(0, 2**53 - 1) | st.none()),
    **dict.fromkeys(("mse", "psnr", "ssim"), st.floats(-(2**53), 2**53, exclude_max=True) | st.integers(-9, 9)),
    "seconds": st.dictionaries(TEXTS, st.floats(-1, 1e15), max_size=3),
    "warnings": st.lists(TEXTS, max_size=3),
}
RECORDS = st.builds(
    lambda values, colors: values | {"colors": colors, "shares": [1 / (number + 1) for number in range(len(colors))]},
    st.fixed_dictionaries({"name": TEXTS}, optional=FIELDS),
    COLORS,
)


@settings(max_examples=40)
@given(JSON | RECORDS)
def test_any_json_is_a_record_that_a_page_shows_or_none(values: Any) -> None:
    found = record_of(values)
    if found is not None:
        assert b"</html>" in page_of([FULL, found], title="x")
