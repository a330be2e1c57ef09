"""Triton's interpreter with the programs of a launch side by side, as on a device, where they can wait for each other.

By itself it runs one after another to its end, and the first that awaits the others does so for ever. Here each program
has a thread, of which one runs at a time: until it looks in `meet` whether all have come, or ends. A seed decides which
goes on then, so every order can be tried, and is the same every time.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from triton._C.libtriton import ir
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder, interpreter_builder


class _OthersFailed(BaseException):
    """Ends a program whose launch has failed."""


class _Programs:
    """A kernel in place of the interpreter's: it notes the programs as they are called, and runs all at the last."""

    def __init__(self, kernel: Callable[..., None], order: random.Random) -> None:
        self._kernel, self._order = kernel, order
        self._places: list[tuple[int, int, int]] = []  # in the grid, of each program
        self._going: set[int] = set()  # programs that have not ended
        self._waiting: set[int] = set()  # those that have looked since any arrived
        self._at_work = -1
        self._turn = threading.Condition()
        self._failure: BaseException | None = None

    def __getattr__(self, name: str) -> Any:  # a signature, and the names that the kernel knows
        return getattr(self._kernel, name)

    def __call__(self, **given: Any) -> None:
        self._places.append(interpreter_builder.grid_idx)
        if self._places[-1] != tuple(n - 1 for n in interpreter_builder.grid_dim):
            return
        self._going = set(range(len(self._places)))
        threads = [threading.Thread(target=self._run, args=(one, given), daemon=True) for one in self._going]
        for thread in threads:
            thread.start()
        self._hand_over()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, own: int, given: dict[str, Any]) -> None:
        try:
            self._await_turn(own)
            self._kernel(**given)
        except BaseException as failure:  # raised where the launch was made
            self._failure = self._failure or failure
        self._going.remove(own)
        self._hand_over()

    def _await_turn(self, own: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._at_work == own)
        if self._failure is not None:
            raise _OthersFailed
        interpreter_builder.set_grid_idx(*self._places[own])

    def _hand_over(self) -> None:
        ready = self._going - self._waiting
        if self._going and not ready:
            self._failure = self._failure or RuntimeError("all programs wait for one that does not come")
            ready = self._going
        with self._turn:
            self._at_work = self._order.choice(sorted(ready)) if ready else -1
            self._turn.notify_all()

    def look(self) -> None:
        """Let others go on before the program at work looks who has come; in vain, once it has, until another comes."""
        own = self._at_work
        self._waiting.add(own)
        self._hand_over()
        self._await_turn(own)

    def arrive(self) -> None:
        """Let all look again."""
        self._waiting.clear()


@contextmanager
def side_by_side(seed: int = 0) -> Iterator[None]:
    """Run the programs of each launch side by side, in an order that depends on the seed; on a device they are."""
    order, launch, add = random.Random(seed), GridExecutor.__call__, InterpreterBuilder.create_atomic_rmw
    launched: _Programs

    def launch_together(executor: Any, *given: Any, **settings: Any) -> None:
        nonlocal launched
        executor.fn = launched = _Programs(executor.fn, order)
        launch(executor, *given, **settings)

    def add_and_tell(builder: Any, operation: Any, place: Any, value: Any, mask: Any, sem: Any, scope: Any) -> Any:
        if sem == ir.MEM_SEMANTIC.ACQUIRE:  # a look of `meet`; who arrives also releases what it wrote
            launched.look()
        else:
            launched.arrive()
        return add(builder, operation, place, value, mask, sem, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GridExecutor, "__call__", launch_together)
        patch.setattr(InterpreterBuilder, "create_atomic_rmw", add_and_tell)
        yield
