"""Comparison of the machines of a cluster with this one: the same program, and the same files."""

import platform
from collections.abc import Callable
from typing import Any

from gpuquant import __version__
from gpuquant.cluster.worker import Node
from gpuquant.errors import DeviceError, GpuquantError, ImageFileError
from gpuquant.images.libraries import versions

Sight = dict[str, Any]  # "gpuquant" and "python", versions or None; "libraries", versions; "unseen", names of paths


def looking() -> Callable[[dict[str, str]], Sight]:
    """A function that finds out what is on a machine. It is sent as code, as nobody knows if gpuquant is there."""

    def look(paths: dict[str, str]) -> Sight:
        import os
        import platform
        from importlib import import_module

        found, libraries = None, {}
        try:
            found = import_module("gpuquant").__version__
            libraries = import_module("gpuquant.images.libraries").versions()
        except ImportError:  # also of one that is older, or needs what is not there
            pass
        unseen = [name for path, name in paths.items() if not os.path.exists(path)]  # noqa: PTH110
        return {"gpuquant": found, "python": platform.python_version(), "libraries": libraries, "unseen": unseen}

    return look


def trouble_with(node: Node, sight: Sight) -> GpuquantError | None:
    """An error about a node that cannot do the work of this machine, or would not find the files."""
    theirs = _versions(sight["gpuquant"], sight["python"])
    ours = _versions(__version__, platform.python_version())
    if theirs != ours:
        return DeviceError(f"the node {node.name} has {theirs}, and this machine {ours}; install the same on all")
    if sight["unseen"]:
        more = f" and {len(sight['unseen']) - 1} more" if len(sight["unseen"]) > 1 else ""
        way_out = "all machines need the same folders at the same place, or URLs"
        return ImageFileError(f"the node {node.name} does not see {sight['unseen'][0]}{more}; {way_out}")
    return None


def difference_of(sight: Sight) -> str | None:
    """The libraries of a node that are not those of this machine, in words."""
    theirs, ours = sight["libraries"], versions()
    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    if not names:
        return None
    there, here = (
        ", ".join(f"{name} {found[name]}" if name in found else f"no {name}" for name in names)
        for found in (theirs, ours)
    )
    return (
        f"{there}, and this machine {here}: results may differ in bits, or photos fail there; install the same on all"
    )


def _versions(program: str | None, python: str) -> str:
    """The versions that matter, in words: Pythons that differ in their third number go together."""
    return f"{f'gpuquant {program}' if program else 'no gpuquant'} and Python {'.'.join(python.split('.')[:2])}"
