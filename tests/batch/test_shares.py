"""The memory of a batch: small photos take what they need, large ones share."""

import pytest

from gpuquant.batch.shares import shares_of
from gpuquant.memory import PROGRAM


@pytest.mark.parametrize("as_floats", [False, True])
@pytest.mark.parametrize("jobs", [1, 2, 16])
@pytest.mark.parametrize("memory", ["1MB", "512MB", "2GB", "64GB", None])
def test_shares_add_up_to_the_memory(memory: str | None, jobs: int, as_floats: bool) -> None:
    shares = shares_of(memory, jobs=jobs, n_threads=2, as_floats=as_floats)
    assert 1 <= shares.most <= shares.all
    wanted = [shares.of(n_pixels) for n_pixels in (1, 10**6, 10**7, 10**9, 10**11)]
    assert wanted == sorted(wanted)
    assert wanted[-1] == shares.most
    assert shares.budget(10**11).n_bytes == PROGRAM + shares.most
    assert not shares.budget(10**11).at_once


def test_more_memory_lets_more_large_photos_be_worked_on() -> None:
    def n_at_a_time(memory: str) -> int:
        shares = shares_of(memory, jobs=4, n_threads=1, as_floats=False)
        return shares.all // shares.of(10**10)

    assert [n_at_a_time(memory) for memory in ("512MB", "1GB", "2GB")] == [1, 3, 4]


def test_photos_that_fit_are_counted_in_one_piece() -> None:
    shares = shares_of("2GB", jobs=2, n_threads=1, as_floats=False)
    budget = shares.budget(30_000_000)
    assert budget.at_once
    assert budget.kept >= 3 * 30_000_000
