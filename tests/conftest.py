"""Fixtures and helpers of several test modules."""

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from sklearn.datasets import load_sample_image

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported: its kernels then run on the CPU
    if importlib.util.find_spec("triton") and version("triton").startswith("3.3."):  # whose interpreter lacks this type
        import triton.language
        from triton.runtime.interpreter import InterpreterBuilder

        InterpreterBuilder.get_int1_ty = lambda _: triton.language.int1
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and for processes that tests start
if os.environ.get("WITHOUT_NUMBA"):  # plain torch is tested in this process, as if Numba could not be imported
    sys.modules["numba"] = None  # type: ignore[assignment]

from gpuquant import KMeans
from gpuquant.estimator import level_pixels
from gpuquant.estimator import model as estimator
from gpuquant.estimator.level_pixels import fold_pixels

# machines are shared, and may be slow
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

needs_numba = pytest.mark.skipif("WITHOUT_NUMBA" in os.environ, reason="Numba is hidden")

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def script(name: str) -> ModuleType:
    """A module of scripts/, which are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_configure(config: pytest.Config) -> None:
    """Let plain torch warn where Numba is hidden."""
    if "WITHOUT_NUMBA" in os.environ:
        config.addinivalue_line("filterwarnings", "ignore:Numba cannot be imported")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what starts processes: it takes longest, and would be left alone at the end."""
    items.sort(key=lambda item: "process" not in item.path.parts)


@pytest.fixture(scope="session")
def china() -> Pixels:
    """scikit-learn's photograph at a third of its size, uint8 [143, 214, 3]."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[::3, ::3])


@pytest.fixture(scope="session")
def china_large() -> Pixels:
    """The same at its size, with more colors than k-means++ chooses among."""
    return np.ascontiguousarray(load_sample_image("china.jpg"))


@pytest.fixture
def folder(china: Pixels, tmp_path: Path) -> Path:
    """Nine photos in two folders, and a file that is none."""
    from oracles import drawing

    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for number in range(8):
        place = photos / "sub" if number > 4 else photos
        Image.fromarray(china[number * 5 :, :: number + 1]).save(place / f"p{number}.png")
    Image.fromarray(drawing("all kinds")).save(photos / "clear.png")
    (photos / "broken.jpg").write_bytes(b"not a photo")
    return photos


@pytest.fixture
def no_place_is_told(tmp_path: Path) -> Iterator[None]:
    """Nothing that a report leaves for others tells where on this machine it was made."""
    yield
    for path in tmp_path.rglob("*"):
        if path.suffix in (".html", ".json") and path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """At the end no thread is there that was not there before; others of before may have ended."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


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


@pytest.fixture
def rubbish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill arrays that are not initialized: they are not 0."""
    empty = torch.empty

    def full(*sizes: Any, **options: Any) -> torch.Tensor:
        made = empty(*sizes, **options)
        made.view(-1).view(torch.uint8).fill_(0xEE)
        return made

    monkeypatch.setattr(torch, "empty", full)


def blobs(n_samples: int, n_columns: int, seed: int = 0) -> Floats:
    random = np.random.RandomState(seed)
    middles = random.normal(0, 6, (6, n_columns))
    return middles[random.randint(0, 6, n_samples)] + random.normal(0, 1, (n_samples, n_columns))


def same(ours: KMeans, theirs: Any) -> None:
    """Equal labels and iterations; centers and inertia up to rounding."""
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-9, atol=1e-12)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9, abs=1e-12)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that is told of each set of samples whether it was recognized as 8-bit pixels."""
    found: list[bool] = []
    original = fold_pixels
    monkeypatch.setattr(level_pixels, "FEW_SAMPLES", 0)
    monkeypatch.setattr(level_pixels, "FEW_WITH_TIES", 0)

    def spy(samples: torch.Tensor) -> Any:
        pixels = original(samples)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(estimator, "fold_pixels", spy)
    return found
