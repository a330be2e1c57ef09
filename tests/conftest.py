"""What several test modules need."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_sample_image

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported: its kernels then run on the CPU

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="session")
def china() -> Pixels:
    """scikit-learn's photograph at a third of its size, uint8 [143, 214, 3]."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[::3, ::3])


@pytest.fixture(params=[1, 3])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """torch set to a number of threads for one test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """A function that sets torch's threads, undone at the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
