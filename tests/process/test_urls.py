"""Photos at a web server, from processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import FORKED, process
from PIL import Image
from stores import SECRETS, Pages, pages

import gpuquant

pytest.importorskip("aiohttp")


def test_a_photo_of_a_web_server(tmp_path: Path) -> None:
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save(tmp_path / "a.png")
    gpuquant.quantize_file(tmp_path / "a.png", tmp_path / "local.png", 4)
    with pages({"/a.png": (tmp_path / "a.png").read_bytes()}) as server:
        url = f"{server.replace('//', f'//me:{SECRETS[0]}@')}/a.png?key={SECRETS[1]}"
        Pages.statuses[:] = [503]
        code, out, error = process("quantize", url, tmp_path / "out.png", "-k", 4)
        assert (code, error) == (0, "")
        assert not any(secret in out for secret in SECRETS)
        assert len(Pages.asked) == 2
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "local.png").read_bytes()


def test_a_process_that_was_forked_reads_on() -> None:
    """fsspec has a thread for its work, which a child does not have."""
    with pages({"/a.bin": b"123"}) as server:
        code = f"""{FORKED}
from gpuquant.locations import place_of
def read():
    return place_of("{server}/a.bin").copy().open().read() == b"123"
assert read()
assert forked(read) == 0
assert read()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
