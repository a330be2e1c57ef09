"""Programs of a launch that wait for each other, in Triton's interpreter (on a CUDA device where there is one)."""

import itertools

import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

import triton
import triton.language as tl
from side_by_side import side_by_side

from gpuquant.ops.cuda_meeting import OPTIONS, meet, programs_that_meet

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
in_the_interpreter = pytest.mark.skipif(torch.cuda.is_available(), reason="on a device it would hang")


@triton.jit
def pass_on_kernel(
    values,  # [columns, rounds + 1, rows] int32, of which round 0 is given
    arrived,  # [columns] int32, 0
    n_rounds,
):
    """values[column, round + 1, row] = 2 values[column, round, row + 1] + row, of which a neighbor wrote the former."""
    row, n_rows, column = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    values += column * (n_rounds + 1) * n_rows
    for step in range(n_rounds):
        theirs = tl.load(values + step * n_rows + (row + 1) % n_rows, cache_modifier=".cg")
        tl.store(values + (step + 1) * n_rows + row, 2 * theirs + row)
        meet(arrived + column, step)


@triton.jit
def one_stays_away_kernel(arrived):
    if tl.program_id(0) != 1:
        meet(arrived, 0)


@triton.jit
def one_fails_kernel(arrived):
    meet(arrived, 0)
    if tl.program_id(0) == 1:
        tl.static_assert(False, "this one fails")
    meet(arrived, 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (2, 1), (5, 1), (3, 4)])
def test_programs_read_what_their_neighbors_wrote(n_rows: int, n_columns: int, seed: int) -> None:
    check_neighbors(n_rows, n_columns, seed, 4)


def check_neighbors(n_rows: int, n_columns: int, seed: int, n_rounds: int) -> None:
    values = torch.zeros(n_columns, n_rounds + 1, n_rows, dtype=torch.int32, device=DEVICE)
    values[:, 0] = torch.arange(n_rows * n_columns).view(n_columns, n_rows)
    expected = values.clone()
    for before, after in itertools.pairwise(range(n_rounds + 1)):
        expected[:, after] = 2 * expected[:, before].roll(-1, 1) + torch.arange(n_rows, device=DEVICE)
    arrived = torch.zeros(n_columns, dtype=torch.int32, device=DEVICE)
    with side_by_side(seed):
        pass_on_kernel[n_rows, n_columns](values, arrived, n_rounds, **OPTIONS)
    assert torch.equal(values, expected)
    assert arrived.tolist() == [n_rounds * n_rows] * n_columns


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_as_many_programs_as_fit_meet_again_and_again() -> None:
    n_rows = programs_that_meet(torch.device("cuda"))
    check_neighbors(n_rows, 1, 0, 1000)


@in_the_interpreter
def test_a_program_that_does_not_come_is_not_awaited_for_ever() -> None:
    with side_by_side(), pytest.raises(Exception, match="wait for one that does not come"):
        one_stays_away_kernel[(3,)](torch.zeros(1, dtype=torch.int32))


@in_the_interpreter
def test_a_program_that_fails_ends_all() -> None:
    with side_by_side(), pytest.raises(Exception, match="this one fails"):
        one_fails_kernel[(3,)](torch.zeros(1, dtype=torch.int32))
