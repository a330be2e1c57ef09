"""Work at URLs: what is tried again, what errors say, and what they never say."""

import errno
import shutil
import sys
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from servers import served
from stores import SECRETS, Pages, Shelf, location, pages, put, read

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import stores


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


class ClientResponseError(Exception):
    """As aiohttp has it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status}, message='No', url='https://me:hunter2@host/a?sig=token-of-mine'")
        self.status = status


class ReadTimeoutError(Exception):
    """As botocore has it."""


class HTTPClientError(ReadTimeoutError):
    """As botocore has it."""


BUSY = [
    OSError(errno.EBUSY, "Please reduce your request rate."),
    OSError(errno.EREMOTEIO, "We encountered an internal error."),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError(),
    TimeoutError(),
    ClientResponseError(503),
    ClientResponseError(429),
    HTTPClientError("the line was cut"),
]
FINAL = [
    OSError(errno.EINVAL, "The bucket's name is not valid"),
    PermissionError("Access Denied"),
    ClientResponseError(403),
    ClientResponseError(400),
    KeyError("a defect"),
]


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, pauses: list[float]) -> None:
    put("shelf://box/a.bin", b"1")
    errors = [error] * 3

    def fail(what: str, _: str) -> None:
        if what == "read" and errors:
            raise errors.pop()

    Shelf.fault = fail
    assert read(location("shelf://box/a.bin")) == b"1"
    assert pauses == [0.5, 1, 2]
    errors += [error] * 4
    with pytest.raises(ImageFileError, match=r"^shelf://box/a.bin cannot be read: .+ \(tried several times\)$"):
        location("shelf://box/a.bin").copy()
    assert errors == []


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_stays_wrong_is_tried_once(error: Exception, pauses: list[float]) -> None:
    def fail(what: str, _: str) -> None:
        raise error

    Shelf.fault = fail
    with pytest.raises(ImageFileError, match=r"^shelf://box cannot be written: .+[^)]$|denied"):
        location("shelf://box").check_writable()
    assert len(Shelf.asked) == 1
    assert pauses == []


def test_denied_is_said_in_words() -> None:
    def fail(what: str, _: str) -> None:
        raise PermissionError("Forbidden")

    Shelf.fault = fail
    with pytest.raises(ImageFileError, match=r"^shelf://box cannot be written: access is denied \(Forbidden\)$"):
        location("shelf://box").check_writable()


SAID = "GET shelf://me:hunter2@box/a.bin?key=token-of-mine#x failed for hunter2 with token-of-mine, me:hunter2@"


@pytest.mark.parametrize(
    "error",
    [
        OSError(SAID),
        OSError(errno.EBUSY, SAID),
        PermissionError(SAID),
        ClientResponseError(503),
        HTTPClientError(SAID),
        KeyError(SAID),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.usefixtures("pauses")
def test_errors_tell_no_secrets(error: Exception) -> None:
    def fail(what: str, _: str) -> None:
        raise error

    Shelf.fault = fail
    place = location("shelf://me:hunter2@box/a.bin?key=token-of-mine#x")
    with pytest.raises(ImageFileError) as found:
        place.copy()
    text = "".join(traceback.format_exception(found.value)) + repr(found.value)
    assert "shelf://box/a.bin" in text
    assert not any(secret in text for secret in SECRETS)
    assert str(found.value).count("\n") == 0


def test_long_words_are_cut() -> None:
    def fail(what: str, _: str) -> None:
        raise OSError("no\n" * 10_000)

    Shelf.fault = fail
    with pytest.raises(ImageFileError) as found:
        location("shelf://box/a.bin").copy()
    assert len(str(found.value)) < 400
    assert "\n" not in str(found.value)


def test_kinds_of_urls_that_nobody_knows() -> None:
    with pytest.raises(ArgumentError, match=r"^nowhere://a/b\.jpg: nowhere:// is no kind of URL that fsspec knows$"):
        location("nowhere://a/b.jpg").copy()


@pytest.mark.parametrize(("url", "module"), [("gs://a/b", "gcsfs"), ("s3://a/b", "s3fs"), ("memory://a", "fsspec")])
def test_a_missing_extra_is_named(url: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for protocol in ("s3", "gs"):
        monkeypatch.delitem(import_module("fsspec.registry")._registry, protocol, raising=False)
    with pytest.raises(ArgumentError) as found:
        location(url).copy()
    way_out = r"pip install 'gpuquant[remote]' (in a checkout: scripts/setup.sh remote)"
    assert str(found.value) == f"{url}: what {url.partition(':')[0]}:// needs is not installed: {way_out}"


def test_what_another_store_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "abfs", raising=False)
    with pytest.raises(ArgumentError, match=r"^abfs://a/b: what abfs:// needs is not installed: .*adlfs"):
        location("abfs://a/b").copy()


def test_files_of_a_web_server(pauses: list[float]) -> None:
    pytest.importorskip("aiohttp")
    data = bytes(range(256)) * 1000
    with pages({"/a b.bin": data}) as server:
        host = server.removeprefix("http://")
        place = location(f"http://me:hunter2@{host}/a%20b.bin?sig=token-of-mine")
        Pages.files["/a%20b.bin"] = data
        assert read(place) == data
        with place.open() as file:
            assert file.read() == data
        Pages.statuses += [503, 500]
        assert read(place) == data
        assert len(pauses) == 2
        for statuses, words in (
            ([503] * 4, r"503.*\(tried several times\)$"),
            ([403], "access is denied"),
            ([410], "410"),
        ):
            Pages.statuses[:] = statuses
            with pytest.raises(ImageFileError, match=f"cannot be read: .*{words}") as found:
                place.copy()
            assert not any(secret in str(found.value) for secret in SECRETS)
        with pytest.raises(ImageFileError, match=rf"^{server}/none.jpg: no such file$"):
            location(f"{server}/none.jpg?sig=token-of-mine").copy()
    with pytest.raises(ImageFileError, match=r"cannot be read: .*\(tried several times\)$"):
        place.copy()


class Slow(BaseHTTPRequestHandler):
    """A server that sends bytes one by one, without saying how many; 15 of them, or for ever, or none at all."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            for _ in count() if self.path == "/endless" else range(15 * (self.path != "/silent")):
                self.wfile.write(b"1" * (1 << 16 if self.path == "/endless" else 1))
                threading.Event().wait(0 if self.path == "/endless" else 0.1)
            threading.Event().wait(1 if self.path == "/silent" else 0)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_server_has_all_time_but_not_all_of_the_disk(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    assert location("https://host/a").system()[0].client_kwargs["timeout"].total is None
    usage, free = shutil.disk_usage(tmp_path), iter(range(1 << 22, 0, -(1 << 16)))
    with served(Slow) as server:
        monkeypatch.setattr(stores, "SILENCE", 1.3)  # seconds, in which 15 bytes do not come
        assert read(location(f"{server}/slow")) == b"1" * 15
        monkeypatch.setattr(stores, "SILENCE", 0.1)
        with pytest.raises(ImageFileError, match=r"/silent cannot be read: .*\(tried several times\)$"):
            location(f"{server}/silent").copy()
        monkeypatch.setattr(stores, "SILENCE", 60)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
        with pytest.raises(
            ImageFileError, match=r"/endless cannot be copied: a temporary file in .*, where 197 KB are free"
        ):
            location(f"{server}/endless").copy()
    assert len(pauses) == 3
