"""A cluster that is played in this process: calls happen in any order, and workers die as a script has it."""

import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpuquant.cluster.nodes import Sight, looking
from gpuquant.cluster.transport import WorkerDiedError
from gpuquant.cluster.worker import Node, Seat, Worker

Script = Callable[["Played", str, tuple[Any, ...]], str | None]
"""Says of a worker that is asked for something whether it dies "before" that or "after" it, before it can answer."""
GONE = object()


@dataclass(eq=False)
class Played:
    """A worker."""

    seat: Seat
    number: int
    worker: Worker
    is_alive: bool = True
    waiting: list["Ticket"] = field(default_factory=list)  # items, the first of which are begun


@dataclass(eq=False)
class Ticket:
    """A question, and its answer once that is there."""

    played: Played | None
    method: str
    given: tuple[Any, ...]
    answer: list[Any] = field(default_factory=list)


class PlayedCluster:
    """Workers that are objects; all that goes to them and comes from them is pickled, as between processes."""

    def __init__(self, *n_cpus: int, n_gpus: int = 0, script: Script = lambda *_: None, seed: int = 0) -> None:
        self.there = [Node(f"id{number}", f"node{number}", n, n_gpus) for number, n in enumerate(n_cpus)]
        self.script, self.sights = script, dict[str, Sight]()  # by the names of nodes, where they differ from ours
        self.started: list[Played] = []
        self.asked: Counter[str] = Counter()  # methods
        self.most_tickets = 0  # that were waited for at a time
        self.n_moved = 0  # bytes of what was handed over
        self._random = random.Random(seed)

    def nodes(self) -> list[Node]:
        return list(self.there)

    def look(self, node: Node, paths: dict[str, str]) -> Ticket:
        sight = self.sights.get(node.name) or looking()(paths)
        return Ticket(None, "look", (), [sight])

    def start(self, seat: Seat) -> Played:
        self.started.append(Played(seat, len(self.started), Worker(seat, str(Path.cwd()))))
        return self.started[-1]

    def call(self, worker: Played, method: str, *given: Any) -> Ticket:
        ticket = Ticket(worker, method, tuple(one if isinstance(one, Ticket) else pickle.dumps(one) for one in given))
        if method == "work":
            worker.waiting.append(ticket)
        return ticket

    def stop(self, worker: Played) -> None:
        for ticket in worker.waiting[: worker.seat.n_jobs]:
            self._play(ticket)
        worker.worker.stop()

    def ready(self, tickets: list[Ticket], seconds: float) -> list[Ticket]:
        assert tickets, "nothing is waited for"
        self.most_tickets = max(self.most_tickets, len(tickets))
        if not any(ticket.answer for ticket in tickets):
            self._play(self._random.choice(tickets))
        return [ticket for ticket in tickets if ticket.answer]

    def result(self, ticket: Ticket) -> Any:
        if ticket.answer[0] is GONE:
            raise WorkerDiedError
        return pickle.loads(ticket.answer[0]) if ticket.played else ticket.answer[0]

    def end(self, worker: Played) -> None:
        worker.is_alive = False

    def _play(self, ticket: Ticket) -> None:
        for one in ticket.given:
            if isinstance(one, Ticket) and not one.answer:
                self._play(one)  # and other things, before that with its answer
                return
        played, given = ticket.played, [one.answer[0] if isinstance(one, Ticket) else one for one in ticket.given]
        assert played
        ticket.given = ()
        if ticket in played.waiting:
            played.waiting.remove(ticket)
        if not played.is_alive or any(one is GONE for one in given):
            ticket.answer = [GONE]
            return
        self.asked[ticket.method] += 1
        values = tuple(pickle.loads(one) for one in given)
        death = self.script(played, ticket.method, values)
        if death != "before":
            answer = pickle.dumps(getattr(played.worker, ticket.method)(*values))
            self.n_moved += len(answer) if ticket.method == "hand_over" else 0
        played.is_alive = death is None
        ticket.answer = [GONE if death else answer]


class Tally:
    """A step that keeps items, but negative ones, of which it says so."""

    def __init__(self, seat: Seat, word: str) -> None:
        self.word, self.kept = word, list[int]()

    def __call__(self, item: int, is_again: bool, is_stopped: Callable[[], bool]) -> str | None:
        if item < 0:
            return f"{self.word} {item}"
        self.kept.append(item)
        return None

    def hand_over(self) -> list[int]:
        kept, self.kept = self.kept, []
        return kept

    def take_over(self, kept: list[int]) -> None:
        self.kept += kept


class Echo:
    """A step that answers with the item, and whether it comes again."""

    def __init__(self, seat: Seat) -> None:
        pass

    def __call__(self, item: Any, is_again: bool, is_stopped: Callable[[], bool]) -> Any:
        return item, is_again
