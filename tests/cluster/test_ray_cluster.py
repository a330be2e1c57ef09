"""Names of clusters, and a Ray that is missing; tests/process/test_cluster.py has one that is there."""

import re
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gpuquant.cluster import ray_cluster
from gpuquant.cluster.ray_cluster import check_cluster, connected
from gpuquant.errors import ArgumentError, DeviceError


@pytest.mark.parametrize("cluster", ["auto", "local", "10.0.0.1:6379", "ray://head-svc:10001"])
def test_names_of_clusters(cluster: str) -> None:
    assert check_cluster(cluster) == cluster


@pytest.mark.parametrize("cluster", ["", "none", "local ", "host", "ray://host", "http://host:80", "ray://a/b:1", 3])
def test_what_names_no_cluster(cluster: object) -> None:
    with pytest.raises(ArgumentError, match='is no cluster; use "auto"'):
        check_cluster(cluster)


def test_a_missing_ray_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(DeviceError, match=r"cluster='local' needs Ray: pip install 'gpuquant\[ray\]'.*/setup.sh ray"),
        connected("local"),
    ):
        pass


def _played(begin: Callable[..., None]) -> ModuleType:
    ray = ModuleType("ray")
    vars(ray).update(is_initialized=lambda: False, init=begin, shutdown=lambda: None)
    return ray


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "does not answer$"),
        (b"", "does not answer: what listens there is no cluster of Ray"),
        (b"HTTP/1.1 400 Bad Request", "does not answer: what listens there is no cluster of Ray"),
        (b"\0\0\x06\4\0\0\0\0\0", "Ray was asked"),
    ],
)
def test_what_answers_but_is_no_ray_is_told_at_once(
    answer: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(**_: object) -> None:
        raise AssertionError("Ray was asked")

    def serve() -> None:
        with head.accept()[0] as line:
            line.recv(1 << 10)
            if answer is not None:
                line.sendall(answer)
            else:
                done.wait(10)

    monkeypatch.setitem(sys.modules, "ray", _played(begin))
    monkeypatch.setattr(ray_cluster, "MOST_SECONDS", 0.2)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as head:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DeviceError, match=said), connected(f"127.0.0.1:{head.getsockname()[1]}"):
            pass
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("cluster", "port", "said"),
    [
        ("{}", 0, "cannot be used: {} does not answer: Connection refused"),
        ("ray://{}", 0, "cannot be used: ray://{} does not answer: Connection refused"),
        ("auto", 0, "cannot be used: {} does not answer: Connection refused"),
        ("{}", 65536, "cannot be used: {} does not answer: "),
    ],
)
def test_a_head_that_does_not_answer_is_told_at_once(
    cluster: str, port: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(**_: object) -> None:
        raise AssertionError("Ray was asked, which tries for ten minutes")

    monkeypatch.setitem(sys.modules, "ray", _played(begin))
    with socket.socket() as unheard:  # a port that is taken, on which nobody listens
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{port or unheard.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        cluster = cluster.format(address)
        words = re.escape(f"cluster={cluster!r} {said.format(address)}")
        with pytest.raises(DeviceError, match=words), connected(cluster):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="sockets")
def test_sockets_in_the_temporary_folder_have_short_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 60)))
    folder = Path(ray_cluster._short_folder())
    assert len(f"{folder}/session_2026-11-30_03-44-56_123456_1234567/sockets/plasma_store") <= 107
    folder.rmdir()


@pytest.mark.parametrize("names", [{}, {"print_to_stdstream": print}])
def test_ray_is_left_as_it_was_found(names: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that calls differently what prints the news, or has no such module."""
    module = ModuleType("ray._private.worker")
    vars(module).update(names)
    before = dict(vars(module))
    monkeypatch.setitem(sys.modules, "ray._private.worker", module)
    with ray_cluster._without_news():
        assert [getattr(module, name) for name in names] != list(names.values()) or not names
    assert vars(module) == before
    monkeypatch.delitem(sys.modules, "ray._private.worker")
    with ray_cluster._without_news():
        pass
