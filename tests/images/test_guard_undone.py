"""Functions that the guard exchanged are put back after an interrupt, too, and in a forked process."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from commands import FORKED, HANGING
from PIL import Image

from gpuquant.images import guard as image_guard
from gpuquant.images.guard import pillow_guarded


@pytest.mark.parametrize("place", [(image_guard._complaints, "begin"), (image_guard, "_our_warn")])
def test_an_interrupt_before_it_begins_leaves_all_as_it_was(
    place: tuple[object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = warnings.warn, Image._decompression_bomb_check, list(logging.getLogger("PIL").handlers)
    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupted)
        with pytest.raises(KeyboardInterrupt), pillow_guarded(1):
            pass
    assert before == (warnings.warn, Image._decompression_bomb_check, list(logging.getLogger("PIL").handlers))
    assert not image_guard._readings
    with pillow_guarded(None) as reading:
        assert reading.outer is None


# It runs in a process of its own: pytest's has threads, and Python warns of forking such a one.
FORK = """
import logging, sys, threading, warnings
from PIL import Image
from gpuquant.images import guard as image_guard
from gpuquant.images.guard import pillow_guarded
from gpuquant.images.reading import read_photo

warnings.simplefilter("ignore")
def state():
    return warnings.warn, Image._decompression_bomb_check, list(logging.getLogger("PIL").handlers)

plain, path = state(), sys.argv[1]
inside, leave = threading.Event(), threading.Event()

def beside(context, call):
    def hold():
        with context:
            inside.set()
            leave.wait(60)
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
    print(call())
    leave.set()
    thread.join()

def reads():
    assert state() == plain, state()
    read_photo(path)
    return state() == plain and not image_guard._readings
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.parametrize(
    "code",
    [
        "beside(image_guard._lock, lambda: forked(reads))",
        "beside(pillow_guarded(None), lambda: forked(reads))",
        """
read_photo(path)
locks = [handler._lock for handler in image_guard._complaints._ours.values()]
beside(locks[0] if locks else image_guard._lock, lambda: forked(reads))
""",
        """
def goes_on():
    inside_still = state() != plain
    second.__exit__(None, None, None)
    inside_still = inside_still and state() != plain
    first.__exit__(None, None, None)
    return inside_still and reads()

first, second = pillow_guarded(None), pillow_guarded(None)
first.__enter__(), second.__enter__()
beside(pillow_guarded(None), lambda: forked(goes_on))
""",
        """
def setter_of(kind):
    return lambda place: getattr(image_libtiff._library(), f"TIFFSet{kind}Handler")(place)

from gpuquant.images import libtiff as image_libtiff
before = [setter_of(kind)(None) for kind in image_libtiff.KINDS if image_libtiff._library()]
for kind, place in zip(image_libtiff.KINDS, before):
    setter_of(kind)(place)

def is_back():
    return [setter_of(kind)(None) for kind in image_libtiff.KINDS if image_libtiff._library()] == before

beside(pillow_guarded(None), lambda: forked(is_back))
""",
    ],
    ids=["lock", "other thread", "lock of libtiff", "this thread", "libtiff"],
)
def test_a_forked_process_begins_anew(code: str, tmp_path: Path) -> None:
    Image.new("RGB", (48, 48)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", FORKED + FORK + code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGING, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
