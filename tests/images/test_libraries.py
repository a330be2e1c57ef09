"""Versions of libraries, found without importing what is slow."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import PIL
import pytest
import torch
from PIL import features

from gpuquant.images.libraries import versions

SLOW = """
import sys
from gpuquant.images.libraries import versions
assert versions()
print(sorted({"torch", "numba", "scipy", "numpy"} & set(sys.modules)))
"""


def test_they_are_those_that_are_imported() -> None:
    found = versions()
    assert found["numpy"] == np.__version__
    assert found["pillow"] == PIL.__version__
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert found.get("Pillow's libjpeg_turbo") == features.version("libjpeg_turbo")


def test_one_that_is_missing_and_one_that_was_built_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "pillow-heif":
            raise metadata.PackageNotFoundError
        return "9.8.7+cu130"

    monkeypatch.setattr(metadata, "version", version)
    found = versions()
    assert "pillow-heif" not in found
    assert found["torch"] == "9.8.7"


def test_a_machine_looks_at_them_in_no_time() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
