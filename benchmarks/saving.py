"""Results in files, one for each bench_NAME.py and device: what a test measured is there as soon as it has passed."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpuquant.bench.measuring import machine
from gpuquant.whole_file import whole_file

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


def check_folder(folder: Path) -> None:
    """Make the folder, or refuse it where it cannot take in what this machine measures."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--save: {folder} cannot be a folder: {error.strerror}") from None
    for path in sorted(folder.glob("*.json")):
        try:
            held = json.loads(path.read_text())
            known = (held["machine"], type(held["tables"]), type(held["ratios"])) == (machine(), list, list)
        except (OSError, ValueError, TypeError, LookupError):
            raise pytest.UsageError(f"--save: {path} does not hold results; give another folder") from None
        if not known:
            raise pytest.UsageError(f"--save: {path} holds another machine's results; give another folder")


def seconds_taken(folder: Path) -> dict[str, float]:
    """The seconds of each test that passed, by the file's name and the test's."""
    return {
        f"{path.stem.rpartition('-')[0]}: {name}": float(seconds)
        for path in sorted(folder.glob("*.json"))
        for name, seconds in json.loads(path.read_text()).get("took", {}).items()
    }


def stored_tables(path: Path) -> list[Row]:
    tables: list[Row] = json.loads(path.read_text())["tables"] if path.exists() else []
    return tables


def save(path: Path, test: str, seconds: float, tables: list[Row], ratios: list[Row]) -> None:
    """Replace what was measured again, whatever was asked of it then."""
    before: Row = json.loads(path.read_text()) if path.exists() else {"tables": [], "ratios": []}
    document = {
        "machine": machine(),
        "tables": _renewed(before["tables"], tables, "measurements"),
        "ratios": _renewed(before["ratios"], ratios, "measured"),
        "took": before.get("took", {}) | {test: round(seconds, 1)},
    }
    with whole_file(path) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")


def _renewed(before: list[Row], now: list[Row], measured: str) -> list[Row]:
    def subject(row: Row) -> Row:
        return {key: value for key, value in row.items() if key not in (measured, "reach / aim", "beside")}

    again = [subject(row) for row in now]
    return [row for row in before if subject(row) not in again] + now


def plan(wanted: list[str], taken: dict[str, float], done: set[str]) -> list[str]:
    """Lines that say what will run and how long it took the last time, and the sum of each file."""
    lines, sums = [], dict.fromkeys((one.partition(":")[0] for one in wanted), 0.0)
    for one in wanted:
        if one in done:
            lines.append(f"   done  {one}")
            continue
        seconds = taken.get(one)
        sums[one.partition(":")[0]] += seconds or 0
        lines.append(f"{'new' if seconds is None else f'{seconds:.0f} s':>7}  {one}")
    lines += [f"{seconds / 60:5.1f} min  {name}" for name, seconds in sums.items()]
    n_new = sum(one not in taken for one in wanted if one not in done)
    unknown = f", and {n_new} that never ran" if n_new else ""
    return [*lines, f"{sum(sums.values()) / 60:5.1f} min in all{unknown}"]
