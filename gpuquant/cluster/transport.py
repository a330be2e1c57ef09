"""Transport: all that a pool of workers needs of a cluster; Ray is one, and tests have another."""

from typing import Any, Protocol

from gpuquant.cluster.worker import Node, Seat


class WorkerDiedError(Exception):
    """The process that was to answer is gone: killed, out of memory, or with its machine."""


class Transport(Protocol):
    """Calls to other processes. A call is answered by a ticket at once, and its result comes later."""

    def nodes(self) -> list[Node]:
        """The machines that are there now."""

    def look(self, node: Node, paths: dict[str, str]) -> Any:
        """A ticket for a `Sight`, taken by a machine of which nothing is known yet."""

    def start(self, seat: Seat) -> Any:
        """A worker, which may begin later, when its place is free."""

    def call(self, worker: Any, method: str, *given: Any) -> Any:
        """A ticket for what a method of `Worker` returns; tickets may be given in place of values."""

    def stop(self, worker: Any) -> None:
        """Have a worker stop, at once: also while it works on items, and before those that it has not begun with."""

    def ready(self, tickets: list[Any], seconds: float) -> list[Any]:
        """Those of the tickets whose results are there; wait so long for one."""

    def result(self, ticket: Any) -> Any:
        """The result, or what the call raised.

        Raises
        ------
        WorkerDiedError
            Who was called, or should have given one of the values, is gone.
        """

    def end(self, worker: Any) -> None:
        """End a worker at once, if it is still there."""
