"""Pool: workers on the nodes of a cluster, which are hired, fed with items, and replaced when they die."""

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gpuquant.cluster.ledger import Ledger
from gpuquant.cluster.nodes import Sight, difference_of, trouble_with
from gpuquant.cluster.transport import Transport, WorkerDiedError
from gpuquant.cluster.worker import Node, NotBegun, Seat, Step, seats_of
from gpuquant.errors import DeviceError, GpuquantError

FOR_EACH_JOB = 2  # items that a worker has: one in work, and one that waits, as the next takes its time to come
SECONDS = 0.2  # at most until an interrupt is noticed
SECONDS_BETWEEN_LOOKS = 5.0  # for nodes that join: a machine takes longer to start
SECONDS_TO_BEGIN = 60.0  # after which a person is told why nothing happens; importing torch takes up to ten
MOST_FAILED_STARTS = 3  # in a row, of workers on one seat: then it is given up


@dataclass(eq=False)
class _Hired:
    """A worker, and what the pool knows about it."""

    number: int  # never given twice
    seat: Seat
    handle: Any
    is_ready: bool = False  # for items
    hands_over: bool = False  # what it keeps, or takes it over


@dataclass(frozen=True)
class _Call:
    """A question that is not answered yet."""

    kind: str  # "begin", "work", "merge" or "fetch"
    worker: _Hired
    item: int = -1  # of "work"
    giver: _Hired | None = None  # of "merge"
    step: Step | None = None  # of "begin"


class Pool:
    """Workers of one kind: on GPUs, if there are any, or on CPUs; on nodes that see all the paths, which have names.

    Raises
    ------
    DeviceError
        There are no such nodes.
    """

    def __init__(self, transport: Transport, paths: dict[str, str], *, jobs: int | None, device: str) -> None:
        self._transport, self._paths, self._jobs = transport, paths, jobs
        self._hired: dict[int, _Hired] = {}
        self._calls: dict[Any, _Call] = {}
        self._n_hired, self._looked_at = 0, time.monotonic()
        self._begins_by = self._looked_at + SECONDS_TO_BEGIN  # with the work, at last
        self._nodes: dict[str, Node] = {}  # that were looked at
        self._looks: dict[Any, Node] = {}  # that are looked at
        self._free: list[Seat] = []
        self._n_failed: dict[tuple[str, int], int] = {}  # starts of a seat
        self._reason = ""  # of the last of them
        self._step: Step | None = None
        self._is_stopped = False
        self._told: set[str] = set()  # differences of nodes
        nodes = transport.nodes()
        has_gpus = any(node.n_gpus for node in nodes)
        self._on_gpus = device == "cuda" or (device == "auto" and has_gpus)
        if device == "cuda" and not has_gpus:
            raise DeviceError(
                'device="cuda" is not there: no node of the cluster has a GPU; use device="auto" or "cpu"'
            )
        self._look(nodes)

    def close(self) -> None:
        """Wait for the items that are begun, whose results are lost, and end all workers."""
        with suppress(GpuquantError):
            while tickets := [ticket for ticket, call in self._calls.items() if call.kind == "work"]:
                self._stop()
                for ticket in self._transport.ready(tickets, SECONDS):
                    del self._calls[ticket]
            for worker in self._hired.values():
                self._transport.end(worker.handle)

    def work(
        self, step: Step, items: Sequence[Any], stopped: threading.Event, take: Callable[[Any], None] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """The results as they come, with the numbers of their items; `WorkerDiedError` for one that was given up.

        What the workers keep goes to `take`, when no item is left; None tells that an item is kept, for the first time:
        if workers die it is worked on anew, and may then be given up. Once stopped, those are finished that are begun.

        Raises
        ------
        DeviceError
            A node has another version; or no node has a place to work.
        ImageFileError
            A node does not see one of the paths.
        """
        if not self._n_hired:
            self._meet(stopped)
        ledger = Ledger(len(items))
        self._step = step
        for worker in self._hired.values():
            if worker.is_ready:  # others begin it when they are through with the one before
                self._begin(worker)
        is_to_feed = True
        while ledger.n_in_work or not (stopped.is_set() or ledger.is_over):
            if stopped.is_set():
                self._stop()
            else:
                is_to_feed |= self._hire()
                self._tell_of_waiting()
                if is_to_feed:
                    self._feed(list(self._hired.values()), ledger, items)
                if take and ledger.is_worked_off and not any(one.hands_over for one in self._hired.values()):
                    self._gather(ledger.keepers)
            is_to_feed = False
            looks = [] if stopped.is_set() else self._looks
            for ticket in self._transport.ready([*self._calls, *looks], SECONDS):
                call = self._calls.pop(ticket, None)
                if call is None:  # a look, or a call to a worker that died meanwhile
                    continue
                try:
                    result = self._transport.result(ticket)
                except WorkerDiedError:
                    is_to_feed = True
                    for worker in filter(None, (call.worker, call.giver)):
                        yield from ((item, WorkerDiedError()) for item in self._lose(worker, ledger))
                    continue
                if isinstance(result, NotBegun):
                    ledger.refused(call.worker.number, call.item)
                elif call.kind == "work":
                    is_kept = take is not None and result is None
                    if ledger.worked(call.worker.number, call.item, is_kept=is_kept) or not is_kept:
                        yield call.item, result
                    if not stopped.is_set():
                        self._feed([call.worker], ledger, items)
                else:
                    is_to_feed = True
                    self._answered(call, result, ledger, take)

    def _meet(self, stopped: threading.Event) -> None:
        """Look at the nodes that are there first, each of which has to be able to do the work."""
        while self._looks and not stopped.is_set():
            for node, trouble in self._seen(SECONDS):
                if trouble:
                    raise trouble
                self._free += self._seats(node)

    def _stop(self) -> None:
        """Have all workers stop, once."""
        if not self._is_stopped:
            self._is_stopped = True
            for worker in self._hired.values():
                self._transport.stop(worker.handle)

    def _answered(self, call: _Call, result: Any, ledger: Ledger, take: Callable[[Any], None] | None) -> None:
        if call.step:
            self._n_failed.pop(_key(call.worker.seat), None)
            if call.step is self._step:
                call.worker.is_ready = True
            else:
                self._begin(call.worker)
        elif call.giver:
            ledger.moved(call.giver.number, call.worker.number)
            call.giver.hands_over = call.worker.hands_over = False
        elif take:
            take(result)
            ledger.safe(call.worker.number)
            call.worker.hands_over = False

    def _tell_of_waiting(self) -> None:
        """Warn where no worker begins, also in the place of those that died, and name what one waits for."""
        if any(worker.is_ready for worker in self._hired.values()):
            self._begins_by = time.monotonic() + SECONDS_TO_BEGIN
        elif self._hired and time.monotonic() > self._begins_by:
            self._begins_by = math.inf
            seat = min((worker.seat for worker in self._hired.values()), key=lambda seat: seat.n_cpus)
            warnings.warn(f"no worker begins: {_lack_of(seat)}", stacklevel=2)

    def _begin(self, worker: _Hired) -> None:
        worker.is_ready = False
        self._ask(_Call("begin", worker, step=self._step), "begin", self._step)

    def _ask(self, call: _Call, method: str, *given: Any) -> None:
        self._calls[self._transport.call(call.worker.handle, method, *given)] = call

    def _feed(self, workers: list[_Hired], ledger: Ledger, items: Sequence[Any]) -> None:
        """Give items to workers that have room for them, in turn."""
        able = [worker for worker in workers if worker.is_ready and not worker.hands_over]
        while able:
            hungry = []
            for worker in able:
                if ledger.n_in_work_of(worker.number) < FOR_EACH_JOB * worker.seat.n_jobs:
                    item = ledger.next_for(worker.number)
                    if item is not None:
                        self._ask(_Call("work", worker, item), "work", items[item], ledger.is_again(item))
                        hungry.append(worker)
            able = hungry

    def _gather(self, keepers: list[int]) -> None:
        """Have what the workers keep added up two by two, as in a tree; that of the last one comes here."""
        if len(keepers) == 1:
            (last,) = (self._hired[number] for number in keepers)
            last.hands_over = True
            self._ask(_Call("fetch", last), "hand_over")
        for one, other in zip(keepers[::2], keepers[1::2], strict=False):
            taker, giver = self._hired[one], self._hired[other]
            taker.hands_over = giver.hands_over = True
            self._ask(_Call("merge", taker, giver=giver), "take_over", self._transport.call(giver.handle, "hand_over"))

    def _lose(self, worker: _Hired, ledger: Ledger) -> list[int]:
        """Give a worker up that died, or may have; the items that are given up with it."""
        if self._hired.pop(worker.number, None) is None:
            return []
        self._transport.end(worker.handle)
        self._calls = {ticket: call for ticket, call in self._calls.items() if call.worker is not worker}
        seat = worker.seat
        if not worker.is_ready:
            self._fail(seat, "workers there die before they begin")
        elif seat.node.id in self._nodes:
            self._free.append(seat)
        return ledger.lost(worker.number)

    def _fail(self, seat: Seat, reason: str) -> None:
        self._n_failed[_key(seat)] = n_failed = self._n_failed.get(_key(seat), 0) + 1
        self._reason = f"{seat.node.name}: {reason}"
        if n_failed < MOST_FAILED_STARTS and seat.node.id in self._nodes:
            self._free.append(seat)

    def _hire(self) -> bool:
        """Look from time to time which nodes are there, and take workers on where there is a place for one."""
        self._keep_looking()
        for seat in self._free:
            self._n_hired += 1
            worker = _Hired(self._n_hired, seat, self._transport.start(seat))
            self._hired[worker.number] = worker
            self._begin(worker)
        was_hiring = bool(self._free)
        self._free = []
        if not self._hired and not self._looks:
            reason = self._reason or f"none of its nodes has a {'GPU' if self._on_gpus else 'CPU'}"
            raise DeviceError(f"the cluster has no place to work: {reason}")
        return was_hiring

    def _keep_looking(self) -> None:
        if self._looks:
            for node, trouble in self._seen(0):
                if trouble:
                    warnings.warn(f"{trouble}; it is not used", stacklevel=2)
                else:
                    self._free += self._seats(node)
        if time.monotonic() - self._looked_at >= SECONDS_BETWEEN_LOOKS or not (self._hired or self._free):
            self._looked_at = time.monotonic()
            nodes = self._transport.nodes()
            there = {node.id for node in nodes}
            self._free = [seat for seat in self._free if seat.node.id in there]
            self._nodes = {key: node for key, node in self._nodes.items() if key in there}
            self._look(nodes)

    def _look(self, nodes: list[Node]) -> None:
        """Begin to look at the nodes that are new."""
        for node in nodes:
            if node.id not in self._nodes:
                self._nodes[node.id] = node
                if self._seats(node):
                    self._looks[self._transport.look(node, self._paths)] = node

    def _seen(self, seconds: float) -> Iterator[tuple[Node, GpuquantError | None]]:
        """The nodes of which it is known now what is there."""
        for ticket in self._transport.ready(list(self._looks), seconds):
            node = self._looks.pop(ticket)
            try:
                sight = self._transport.result(ticket)
            except WorkerDiedError:  # the node is gone, or comes again
                self._nodes.pop(node.id, None)
                continue
            trouble = trouble_with(node, sight)
            if trouble is None:
                self._tell_of_difference(node, sight)
            yield node, trouble

    def _tell_of_difference(self, node: Node, sight: Sight) -> None:
        """Warn of a node with other libraries; once of all nodes that have the same."""
        difference = difference_of(sight)
        if difference and difference not in self._told:
            self._told.add(difference)
            warnings.warn(f"the node {node.name} has {difference}", stacklevel=2)

    def _seats(self, node: Node) -> list[Seat]:
        return seats_of(node, self._jobs, on_gpus=self._on_gpus)


def _lack_of(seat: Seat) -> str:
    """The place that a worker waits for, and how to do with less."""
    cpus = f"{seat.n_cpus} CPU{'s' * (seat.n_cpus > 1)}{' and a GPU' * seat.has_gpu}"
    less = "; with jobs=1 a worker takes one CPU" if seat.n_cpus > 1 else ""
    return f"one takes {cpus} of {seat.node.name} at once, which others may use; waiting for them{less}"


def _key(seat: Seat) -> tuple[str, int]:
    return seat.node.id, seat.number
