"""A server of S3, moto's, as a process on this machine; and another one before it, which adds faults."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

ERROR = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>%s</Message></Error>"
SLOW_DOWN = 503, ERROR % (b"SlowDown", b"Please reduce your request rate.")
DENIED = 403, ERROR % (b"AccessDenied", b"Access Denied")
Fault = Callable[[str, str], tuple[int, bytes] | None]  # of a method and a path with its query: what to answer
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


def environment(address: str) -> dict[str, str]:
    """Variables with which S3 is at an address."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "the-key-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "the-secret-of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server without buckets."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert started.poll() is None, "the server did not start: is moto[server] installed?"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        started.kill()
        started.wait()


class Faults:
    """The server before another one: `fault` may answer in its place, and `asked` has what comes."""

    def __init__(self, address: str) -> None:
        self.fault: Fault | None = None
        self.asked: list[tuple[str, str]] = []
        self._host = address.removeprefix("http://")
        faults = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Callable[[], None]:
                if not name.startswith("do_"):
                    raise AttributeError(name)
                return lambda: faults.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path)
        self.asked.append((request.command, path))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        found = self.fault(request.command, path) if self.fault else None
        if found is None:
            there = http.client.HTTPConnection(self._host)
            there.request(request.command, request.path, body, dict(request.headers))
            answer = there.getresponse()
            status, data, headers = answer.status, answer.read(), answer.getheaders()
            there.close()
        else:
            (status, data), headers = found, []
        request.send_response(status)
        length = None
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        is_head = request.command == "HEAD"
        request.send_header("Content-Length", length if is_head and length else str(len(data)))
        request.end_headers()
        if not is_head:
            request.wfile.write(data)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def with_faults(address: str) -> Iterator[Faults]:
    faults = Faults(address)
    try:
        yield faults
    finally:
        faults.close()


@contextmanager
def set_in(environ: "os._Environ[str]", values: dict[str, str]) -> Iterator[None]:
    before = {name: environ.get(name) for name in values}
    environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value
