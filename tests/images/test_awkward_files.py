"""The awkward files as a batch: each is the right result, or the right line of error."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import on_disk
from image_files import AWKWARD, ERRORS, PICTURES, TRANSPARENT, needs_awkward
from PIL import Image

from gpuquant import quantize_files
from gpuquant.images.reading import read_photo


@needs_awkward
def test_awkward_files_are_right_results_or_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From file to file: size after turning, transparency, and about the right colors."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    outcomes = {outcome.source.name: outcome for outcome in quantize_files(AWKWARD, tmp_path, 16)}
    assert {name for name, outcome in outcomes.items() if outcome.status == "failed"} == set(ERRORS)
    for name, words in ERRORS.items():
        assert re.search(words, str(outcomes[name].error))
    for name, (height, width, note) in PICTURES.items():
        outcome = outcomes[name]
        with Image.open(on_disk(outcome.target)) as image:
            assert (image.width, image.height, image.mode) == (width, height, "P")
            assert ("transparency" in image.info) == (name in TRANSPARENT)
            pixels = None if image.width == 20_000 else np.asarray(image.convert("RGBA"))[..., :3].reshape(-1, 3)
        assert (note in " ".join(outcome.warnings)) == (len(outcome.warnings) == (note != ""))
        if name not in TRANSPARENT and pixels is not None:
            colors = read_photo(AWKWARD / name).in_srgb().reshape(height * width, -1)
            np.testing.assert_allclose(pixels.mean(axis=0) - colors.mean(axis=0), 0, atol=1)
