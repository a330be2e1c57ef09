"""Sights of machines, taken by code that needs nothing of ours there."""

import builtins
import dis
import platform
from pathlib import Path

import gpuquant
from gpuquant.cluster.nodes import looking, trouble_with
from gpuquant.cluster.worker import Node

NODE = Node("1", "far", 1, 0)


def test_a_machine_like_this_one(tmp_path: Path) -> None:
    sight = looking()({str(tmp_path): "here", str(tmp_path / "away"): "away"})
    versions = {"gpuquant": gpuquant.__version__, "python": platform.python_version()}
    assert sight == {**versions, "unseen": ["away"]}
    assert trouble_with(NODE, sight | {"unseen": []}) is None
    major, minor, _ = platform.python_version().split(".", 2)
    assert trouble_with(NODE, sight | {"unseen": [], "python": f"{major}.{minor}.77"}) is None


def test_looking_is_sent_as_code() -> None:
    """A function within one, which uses nothing of its module: that may not be there."""
    assert "<locals>" in looking().__qualname__
    used = {one.argval for one in dis.get_instructions(looking()) if one.opname == "LOAD_GLOBAL"}
    assert used <= set(dir(builtins))
