"""Run one step of the report and print its rows, one line of JSON each; gpu_report.py starts it.

Its process group is killed when its standard input ends.

Example: sleep 60 | PYTHONPATH=. GPUQUANT_REHEARSAL=1 .venv/bin/python scripts/gpu/run_step.py times
"""

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from gpu.steps import STEPS


def end_with_parent() -> None:
    """End this step and what it started when its standard input ends: whoever started it is gone."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def count_compiled() -> list[str]:
    """The names of the kernels that are compiled from now on because Triton's cache does not have them."""
    names: list[str] = []
    try:
        from triton import knobs
    except ImportError:  # before Triton 3.4 there is nothing to listen to
        return names

    def listen(*, src: Any, cache_hit: bool, **_: Any) -> None:
        if not cache_hit:
            names.append(src.name)

    knobs.compilation.listener = listen
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", metavar="STEP", choices=STEPS, help=", ".join(STEPS))
    step = STEPS[parser.parse_args().step]
    end_with_parent()
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is no row

    def tell(row: dict[str, Any]) -> None:
        stream.write(json.dumps(row) + "\n")
        stream.flush()

    module, function = step.place.split(":")
    warnings.simplefilter("default")
    failed = False
    compiled = count_compiled()
    try:
        for row in getattr(importlib.import_module(f"gpu.{module}"), function)():
            tell(row)
        tell({"what": "kernels that the cache did not have", "compiled": compiled})
    except BaseException as error:
        traceback.print_exc()
        message = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        tell({"what": "the step itself", "error": message})
        failed = True
    os._exit(failed)  # a device that no longer answers would hold up the way out


if __name__ == "__main__":
    main()
