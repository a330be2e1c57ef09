"""Records, written as JSON and read back; whatever else is there is no record."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquant.report.record import PhotoRecord, record_of

FULL = PhotoRecord(
    "holiday/a.jpg", "../holiday/a.jpg", "a.png", "1-before.jpg", "1-after.jpg", None, 40, 30, 2,
    ("#000000", "#ffffff80"), (0.75, 0.25), 12.5, 37.2, -0.1, 1000, 10, {"read": 0.5, "map": 1}, ("odd",), "n colors 2",
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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # as it is while other tests run
@given(JSON)
def test_any_json_is_a_record_or_none(values: Any) -> None:
    found = record_of(values)
    assert found is None or isinstance(found.name, str)
