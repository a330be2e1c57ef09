"""Sights of machines, taken by code that needs nothing of ours there."""

import builtins
import dis
import platform
import sys
from pathlib import Path

import pytest

import gpuquant
from gpuquant.cluster.nodes import difference_of, looking, trouble_with
from gpuquant.cluster.worker import Node
from gpuquant.images import libraries

NODE = Node("1", "far", 1, 0)


def test_a_machine_like_this_one(tmp_path: Path) -> None:
    sight = looking()({str(tmp_path): "here", str(tmp_path / "away"): "away"})
    versions = {"gpuquant": gpuquant.__version__, "python": platform.python_version()}
    assert sight == {**versions, "libraries": libraries.versions(), "unseen": ["away"]}
    assert difference_of(sight) is None
    assert trouble_with(NODE, sight | {"unseen": []}) is None
    major, minor, _ = platform.python_version().split(".", 2)
    assert trouble_with(NODE, sight | {"unseen": [], "python": f"{major}.{minor}.77"}) is None


def test_other_libraries_are_named() -> None:
    """Each that differs, on either side, and no other."""
    ours = libraries.versions()
    theirs = {name: version for name, version in ours.items() if name != "numpy"} | {"pillow": "9.1", "zebra": "2"}
    assert difference_of({"libraries": theirs}) == (
        f"no numpy, pillow 9.1, zebra 2, and this machine numpy {ours['numpy']}, pillow {ours['pillow']}, no zebra: "
        "results may differ in bits, or photos fail there; install the same on all"
    )


def test_a_machine_with_an_older_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpuquant.images.libraries", None)
    sight = looking()({})
    assert (sight["gpuquant"], sight["libraries"]) == (gpuquant.__version__, {})
    monkeypatch.setitem(sys.modules, "gpuquant", None)
    assert looking()({})["gpuquant"] is None


def test_looking_is_sent_as_code() -> None:
    """A function within one, which uses nothing of its module: that may not be there."""
    assert "<locals>" in looking().__qualname__
    used = {one.argval for one in dis.get_instructions(looking()) if one.opname == "LOAD_GLOBAL"}
    assert used <= set(dir(builtins))
