"""Commands run in this process or in others, and what batches leave."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import gpuquant
from gpuquant.batch.plan import Plan
from gpuquant.cli import app as cli
from gpuquant.locations import Place

Run = tuple[int, str, str]
HANGING = 300  # seconds after which a process hangs: on a busy machine it may compile loops for a minute


def run(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["gpuquant", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output = capsys.readouterr()
    return int(stop.value.code or 0), output.out, output.err


def process(*arguments: object) -> Run:
    command = [sys.executable, "-m", "gpuquant", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def process_after(code: str, *arguments: object) -> Run:
    """The command in another process, which does something before it imports the command line."""
    code += "\nfrom gpuquant.cli.app import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def all_shown(terminal: int) -> str:
    """All that was written to the other side of a terminal until that was closed: it may come in parts."""
    shown = b""
    with suppress(OSError):  # its end
        while part := os.read(terminal, 1 << 16):
            shown += part
    os.close(terminal)
    return shown.decode()


def choices_in_help(option: str, command: str, *, after: str = "") -> list[str]:
    """The choices of an option, as the help of a command lists them in another process."""
    code, out, _ = process_after(after, command, "--help")
    found = re.search(rf"{option} +<([^>]+)>", out)
    assert code == 0
    assert found
    return found[1].split("|")


def names_in_docstring(function: Any, argument: str) -> list[str]:
    """The names in quotes that the docstring of a function allows for an argument."""
    line = re.search(rf"^ *{argument} : (.*)", function.__doc__, re.MULTILINE)
    assert line
    return re.findall('"([^"]+)"', line[1])


FORKED = """
import os, signal, sys

def forked(call):
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(100)  # ends a child that waits for ever
    try:
        os._exit(0 if call() else 1)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(2)
"""


def by_name(outcomes: Any) -> dict[str, gpuquant.FileOutcome]:
    return {outcome.source.name: outcome for outcome in outcomes}


def photos_on(page: bytes) -> list[dict[str, Any]]:
    """The data of a report."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.decode())
    assert text
    data = json.loads(text[1])
    return [dict(zip(data["fields"], photo, strict=True)) for photo in data["photos"]]


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def on_disk(place: Place) -> Path:
    """A place that is no URL."""
    assert isinstance(place, Path)
    return place


def check(plan: Plan, output: Path, tail: str = ".png") -> None:
    """All targets can be written beside each other, inside the output folder, on any file system."""
    folded = [str(file.target).casefold() for file in plan.files]
    assert len(set(folded)) == len(folded)
    above = {str(parent).casefold() for file in plan.files for parent in on_disk(file.target).parents}
    assert not above & set(folded)
    for file in plan.files:
        assert Path(os.path.normpath(on_disk(file.target))).is_relative_to(output)
        assert file.target != output
        assert file.target.name.endswith(tail)
