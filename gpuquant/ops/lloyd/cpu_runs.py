"""The runs of compiled Lloyd iterations, each of which goes on by itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gpuquant.ops.lloyd.cpu_moves import EMPTY, GOING, Floats, move_centers
from gpuquant.ops.lloyd.moves import AS_LONG_AS_NEEDED


class RunByRun(ABC):
    """Iterations of all runs; `helpers` are what `_over_runs` gives for the threads that work on one run."""

    def iterate(
        self,
        centers: Tensor,  # [P, K, D] float64, contiguous: moved in place
        moves: Tensor,  # [P, K, D] float64, contiguous: the last moves of the centers
        n_iter: Tensor,  # [P] int32
        status: Tensor,  # [P] int32: runs whose `RunStatus` is not GOING rest
        limits: Tensor,  # [P] float64: of the squared shifts of all centers
        *,
        max_iter: int,
        relaxation: float,
        momentum: float,
        n_steps: int = AS_LONG_AS_NEEDED,
    ) -> list[int]:  # the `RunStatus` of each run
        """Iterate until every run has ended, needs the host to fill an empty cluster, or made so many steps."""
        places, shifts, stands, ended = centers.numpy(), moves.numpy(), status.numpy(), n_iter.numpy()
        most = limits.tolist()

        def advance(run: int, helpers: Any) -> None:
            n_left, found = min(n_steps, AS_LONG_AS_NEEDED), GOING
            while found == GOING and n_left > 0:
                given = int(max_iter) - int(ended[run]), n_left, most[run], float(relaxation), float(momentum)
                found, n_done = self._advance(run, helpers, places[run], shifts[run], *given)
                n_left -= n_done
                ended[run] += n_done
            stands[run] = found

        self._over_runs([run for run, stand in enumerate(stands.tolist()) if stand == GOING], advance)
        found: list[int] = stands.tolist()
        return found

    @abstractmethod
    def _over_runs(self, runs: list[int], function: Callable[[int, Any], None]) -> None:
        """Call a function for runs, with what threads help in each."""

    @abstractmethod
    def _advance(
        self,
        run: int,
        helpers: Any,
        centers: Floats,  # [K, D]: moved
        moves: Floats,  # [K, D]
        until_last: int,  # iterations
        n_left: int,  # to be done at most
        limit: float,
        relaxation: float,
        momentum: float,
    ) -> tuple[int, int]:  # its `RunStatus`, and the iterations that ended
        """Label all points of a run and move its centers, one or more times."""


def moved(*given: Any) -> tuple[int, int]:  # the `RunStatus` of the run, and the iterations that ended
    """End an iteration by `move_centers`."""
    status = move_centers(*given)
    return status, int(status != EMPTY)
