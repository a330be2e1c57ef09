"""Record: everything that a played device was asked for, in order, and which stage of the work asked for it."""

import sys
import threading
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gpuquant

PACKAGE = str(Path(gpuquant.__file__).parent)
STAGES = [  # the first that holds for any caller: a file or folder of the package, and a function or any
    ("fitting/settling.py", "", "settle"),
    ("clustering/breathing.py", "", "breathing"),
    ("fitting/problem.py", "on_grid", "breathing"),
    ("ops/points/", "", "cells and blocks"),
    ("ops/seeding/", "", "k-means++"),
    ("clustering/initialization.py", "", "k-means++"),
    ("ops/lloyd/", "", "Lloyd"),
    ("clustering/", "", "Lloyd"),
    ("quantization/steps.py", "count_image", "count"),
    ("quantization/steps.py", "map_image", "map"),
    ("fitting/", "", "search"),
    ("estimator/", "", "estimator"),
]


@dataclass(frozen=True)
class Event:
    """One thing that was asked for."""

    kind: str  # "operation", "view", "launch" or "wait"
    name: str
    stage: str
    device_us: float = 0.0  # of the device, estimated
    is_direct: bool = False  # a launch of a compiled kernel, past the JIT's Python


class Record:
    """Events since the last `clear`, and kernels that were compiled since then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.events: list[Event] = []
        self.compiled: list[str] = []

    def add(self, kind: str, name: str, *, device_us: float = 0.0, is_direct: bool = False, times: int = 1) -> None:
        event = Event(kind, name, _stage(), device_us, is_direct)
        with self._lock:
            self.events += [event] * times

    def counts(self) -> dict[str, int]:
        """How many events there are of each kind, and how many kernels were compiled."""
        found = Counter(event.kind for event in self.events)
        kinds = {"operations": "operation", "views": "view", "launches": "launch", "waits": "wait"}
        return {name: found[kind] for name, kind in kinds.items()} | {"compiled": len(self.compiled)}

    def stages(self) -> dict[str, dict[str, int]]:
        """The same by stage."""
        found: dict[str, dict[str, int]] = {}
        for event in self.events:
            own = found.setdefault(event.stage, {"operation": 0, "view": 0, "launch": 0, "wait": 0})
            own[event.kind] += 1
        return found

    def names(self, kind: str) -> dict[str, int]:
        """How often each thing of a kind was asked for."""
        return dict(Counter(event.name for event in self.events if event.kind == kind).most_common())


def _stage() -> str:
    frame, callers = sys._getframe(2), set()
    while frame is not None:
        place = _place(frame.f_code.co_filename)
        if place:
            callers.add((place, frame.f_code.co_name))
        frame = frame.f_back  # type: ignore[assignment]
    return _stage_of(frozenset(callers))


@cache
def _place(path: str) -> str:
    """The path of a file within the package, or nothing."""
    return path[len(PACKAGE) + 1 :] if path.startswith(PACKAGE) else ""


@cache
def _stage_of(callers: frozenset[tuple[str, str]]) -> str:
    for place, function, stage in STAGES:
        if any(one.startswith(place) and function in ("", name) for one, name in callers):
            return stage
    return "rest"


RECORD = Record()
