"""RayCluster: a running Ray cluster, or one that is started for a batch, as a transport of the pool."""

import contextlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gpuquant.cluster.nodes import looking
from gpuquant.cluster.transport import WorkerDiedError
from gpuquant.cluster.worker import Node, Seat, Worker
from gpuquant.errors import ArgumentError, DeviceError
from gpuquant.threads import n_cores

INSTALL = "pip install 'gpuquant[ray]' (in a checkout: scripts/setup.sh ray)"
FORMS = '"auto" (a running cluster), "local" (one for this batch), "HOST:PORT" or "ray://HOST:PORT"'
HOST_AND_PORT = re.compile(r"(?:ray://)?([^\s/:]+):([0-9]+)")
MOST_SECONDS = 10.0  # that a head may take to accept a connection, and to answer
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty frame of that type, with which both sides begin (RFC 9113, 3.4)
OF_TYPE = slice(3, 4)  # where its type is
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS  # of gRPC, which Ray speaks
OBJECT_STORE = (
    512 << 20
)  # bytes, taken as they are needed: two histograms of all colors, of 2^24 * 11 bytes, on their way
LONGEST = 300  # letters of Ray's errors, which may have pages
MOST_OF_PLACE = 15  # letters of the temporary folder: names of sockets have at most 107, ours takes 22 and Ray up to 70
BESIDE = "beside"  # the work on items: Ray's name for threads of an actor that take certain calls
NEWS = "print_to_stdstream"  # which prints what happens to nodes
QUIETLY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}  # tells nobody, and advises nothing


def check_cluster(cluster: object) -> str:
    """The name of a cluster, if it has one of the forms.

    Raises
    ------
    ArgumentError
        It has not.
    """
    if isinstance(cluster, str) and (cluster in ("auto", "local") or HOST_AND_PORT.fullmatch(cluster)):
        return cluster
    raise ArgumentError(f"cluster={cluster!r} is no cluster; use {FORMS}")


@contextlib.contextmanager
def connected(cluster: str) -> Iterator["RayCluster"]:
    """A cluster, to which this process is connected until the end; one that was started for it ends then.

    Raises
    ------
    DeviceError
        Ray is not installed, the cluster is not there, or this process uses another one.
    """
    ray = _imported(cluster)
    if ray.is_initialized():  # by the program that calls us, which also ends it
        if cluster != "auto":
            raise DeviceError(
                f"cluster={cluster!r}: this process is connected to a cluster; use that with cluster='auto'"
            )
        yield RayCluster(ray)
        return
    _check_answers(cluster)
    with _temporary_folder() if cluster == "local" else contextlib.nullcontext() as folder:
        try:
            _connect(ray, cluster, folder)
            with _without_news():
                yield RayCluster(ray)
        finally:
            ray.shutdown()


def _check_answers(cluster: str) -> None:
    """Raise where nobody listens, or not as Ray does: it would try for ten minutes, and print what it tries."""
    address = os.environ.get("RAY_ADDRESS", "") if cluster == "auto" else cluster
    found = HOST_AND_PORT.fullmatch(address)
    if found is None:
        return
    try:
        with socket.create_connection((found[1], int(found[2])), timeout=MOST_SECONDS) as line:
            if "RAY_USE_TLS" not in os.environ:
                line.sendall(GREETING)
                if line.recv(len(SETTINGS), socket.MSG_WAITALL)[OF_TYPE] != SETTINGS[OF_TYPE]:
                    raise ConnectionError("what listens there is no cluster of Ray")
    except TimeoutError:
        raise DeviceError(f"cluster={cluster!r} cannot be used: {address} does not answer") from None
    except (OSError, ValueError, OverflowError) as error:  # of what is no name of a host, or a port above all others
        said = getattr(error, "strerror", None) or str(error)
        raise DeviceError(f"cluster={cluster!r} cannot be used: {address} does not answer: {said}") from None


def _connect(ray: Any, cluster: str, folder: str | None) -> None:
    try:
        with _quietly():
            if folder:
                ray.init(
                    address="local",
                    num_cpus=n_cores(),
                    num_gpus=torch.cuda.device_count(),  # Ray would also find those that this torch cannot use
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=folder,
                )
            else:
                ray.init(address=cluster, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray and the libraries below it each raise their own
        words = " ".join(str(error).split())[:LONGEST]
        if isinstance(error, ConnectionError) and "any running Ray" in words:
            ways_out = "start one with `ray start --head`, set RAY_ADDRESS, or use cluster='local'"
            raise DeviceError(f"cluster={cluster!r} finds no running cluster; {ways_out}") from None
        raise DeviceError(f"cluster={cluster!r} cannot be used: {words}") from None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let Ray say nothing while it starts."""
    before = {name: os.environ.get(name) for name in QUIETLY}
    try:
        os.environ.update({name: value for name, value in QUIETLY.items() if before[name] is None})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextlib.contextmanager
def _without_news() -> Iterator[None]:
    """Keep standard output free of what happens to nodes, with pages of their logs: Ray has no setting for that."""
    module = sys.modules.get("ray._private.worker")
    before = getattr(module, NEWS, None)
    if before is None:  # another version of Ray: it is left as it is
        yield
        return
    try:
        setattr(module, NEWS, lambda *_, **__: None)
        yield
    finally:
        setattr(module, NEWS, before)


def _imported(cluster: str) -> Any:
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        reason = INSTALL if error.name == "ray" else f"Ray does not work: {error}"
        raise DeviceError(f"cluster={cluster!r} needs Ray: {reason}") from None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder for Ray, which is removed also if this process is killed: another one waits for its end."""
    folder = _short_folder()
    remove = 'cat >/dev/null; sleep 2; rm -rf "$1"'  # Ray's own processes have ended by then
    waits = None
    try:
        if shell := shutil.which("sh"):
            waits = subprocess.Popen([shell, "-c", remove, "sh", folder], stdin=subprocess.PIPE, start_new_session=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if waits:
            waits.kill()
            waits.communicate()


def _short_folder() -> str:
    """A temporary folder in which sockets can be."""
    usual = tempfile.gettempdir()
    place = "/tmp" if len(usual) > MOST_OF_PLACE and Path("/tmp").is_dir() else usual
    return tempfile.mkdtemp(prefix="gpuquant-ray-", dir=place)


class RayCluster:
    """Calls of actors, each on the node that it is meant for."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._exceptions = import_module("ray.exceptions")
        self._on_node = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        self._look = ray.remote(looking())
        self._worker = ray.remote(concurrency_groups={BESIDE: 1})(Worker)

    def nodes(self) -> list[Node]:
        """The machines that are there now."""
        found = []
        for node in self._asked(self._ray.nodes):
            if node["Alive"]:
                host, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
                name = host if host == address else f"{host} ({address})"
                n_cpus, n_gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
                found.append(Node(node["NodeID"], name, n_cpus, n_gpus))
        return found

    def look(self, node: Node, paths: dict[str, str]) -> Any:
        """A ticket for what a machine has."""
        return self._look.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(node)).remote(paths)

    def start(self, seat: Seat) -> Any:
        """A worker, as an actor: it begins when so many CPUs, and a GPU if it is to have one, are free on the node."""
        actor = self._worker.options(
            num_cpus=seat.n_cpus,
            num_gpus=int(seat.has_gpu),
            max_concurrency=seat.n_jobs,
            max_restarts=0,  # what it keeps would be gone, which has to be known
            max_task_retries=0,
            scheduling_strategy=self._on(seat.node),
        )
        return actor.remote(seat, str(Path.cwd()))

    def call(self, worker: Any, method: str, *given: Any) -> Any:
        """A ticket for what a method of an actor returns."""
        return getattr(worker, method).remote(*given)

    def stop(self, worker: Any) -> None:
        """Have an actor stop, by a thread beside those that work on items."""
        worker.stop.options(concurrency_group=BESIDE).remote()

    def ready(self, tickets: list[Any], seconds: float) -> list[Any]:
        """Those of the tickets whose results are there; wait so long for one."""
        if not tickets:
            time.sleep(seconds)
            return []
        first, others = self._asked(self._ray.wait, tickets, num_returns=1, timeout=seconds)
        if not first or not others:
            return list(first)
        more, _ = self._asked(self._ray.wait, others, num_returns=len(others), timeout=0)
        return [*first, *more]

    def result(self, ticket: Any) -> Any:
        """Return what the call returned, or raise what it raised."""
        try:
            return self._asked(self._ray.get, ticket)
        except self._exceptions.RayTaskError as error:
            if isinstance(error.cause, self._exceptions.RayError):  # of the worker that was to give a value
                raise WorkerDiedError from None
            raise error.cause from None
        except self._exceptions.RayError:
            raise WorkerDiedError from None

    def end(self, worker: Any) -> None:
        """End an actor at once."""
        with contextlib.suppress(self._exceptions.RayError, ValueError):
            self._asked(self._ray.kill, worker)

    def _on(self, node: Node) -> Any:
        return self._on_node(node.id, soft=False)

    def _asked(self, function: Any, *given: Any, **settings: Any) -> Any:
        try:
            return function(*given, **settings)
        except (ConnectionError, self._exceptions.RaySystemError) as error:
            raise DeviceError(f"the cluster is lost: {' '.join(str(error).split())[:LONGEST]}") from None
