"""Work where a URL leads, by fsspec: again where that may help, and with errors that tell no secrets.

The only module that imports fsspec, when a URL is used.
"""

import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any, TypeVar

from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError

TRIES = 4
TRIES_OF = {"s3": 2, "gs": 2}  # where botocore and gcsfs themselves try five times or more
PAUSE = 0.5  # seconds before the second try, and twice as many before each that follows: 3.5 in all
SILENCE = 60  # seconds after which a server of the web is one that does not answer
MOST_LETTERS = 300  # of what others say about an error
LEAST_SECRET = 4  # letters of a part of user info or query that is taken out of words: shorter ones are in any

READ_ONLY = ("http", "https")  # they list no folders, and take no files
IN_EXTRA = ("s3", "gs", "http", "https")
INSTALL = "pip install 'gpuquant[remote]' (in a checkout: scripts/setup.sh remote)"
NO_LETTERS_OF_URLS = set("?#\t\r\n")  # of a name: a file system of fsspec would cut it there, or leave them out
OPTIONS = {"s3": {"use_listings_cache": False}, "gs": {"use_listings_cache": False}}  # what lies there changes

BUSY = {errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE}
BUSY.add(getattr(errno, "EREMOTEIO", errno.EIO))  # what s3fs makes of an internal error of the server
BUSY_STATUS = {408, 429, 500, 502, 503, 504}  # of HTTP
BUSY_NAMES = {  # of errors of botocore and aiohttp, which have no base class in common
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectionError",
    "HTTPClientError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseParserError",
    "TimeoutError",
}

_URL_IN_WORDS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)(?:[^\s/?#]*@)?([^\s?#'\"<>]*)(?:[?#][^\s'\"<>]*)?")

Found = TypeVar("Found")


@dataclass(frozen=True, repr=False)
class Address:
    """A URL. As text it is a name to show: without user info, query and fragment, which fsspec alone gets to see."""

    protocol: str
    path: str  # bucket and key, or host and path, without a slash at its end
    secrets: tuple[str, str] = ("", "")  # user info with its "@"; query and fragment

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def is_read_only(self) -> bool:
        return self.protocol in READ_ONLY

    @property
    def is_private(self) -> bool:
        """True where only this process sees what lies there."""
        return self.protocol == "memory"

    def system(self) -> tuple[Any, str]:
        """fsspec's file system, which it keeps in this process, and the path in it.

        Raises
        ------
        ArgumentError
            There is no such kind of URL, or what it needs is not installed.
        ImageFileError
            The URL does not say what it needs to.
        """
        try:
            kind = import_module("fsspec").get_filesystem_class(self.protocol)
        except ValueError:
            raise ArgumentError(f"{self}: {self.protocol}:// is no kind of URL that fsspec knows") from None
        except ImportError as error:
            is_ours = self.protocol in IN_EXTRA or error.name == "fsspec"
            way_out = INSTALL if is_ours else " ".join(str(error).split())
            raise ArgumentError(f"{self}: what {self.protocol}:// needs is not installed: {way_out}") from None
        user, tail = self.secrets
        host, below = self.path, ""
        if NO_LETTERS_OF_URLS & set(self.path):
            host, slash, below = self.path.partition("/")
            below = slash + below
        start = f"{self.protocol}://{user}{host}"
        try:
            options = kind._get_kwargs_from_urls(start + tail) | OPTIONS.get(self.protocol, {})
            if self.is_read_only:  # where aiohttp would give up after five minutes in all, however well it goes
                timeout = import_module("aiohttp").ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
                options["client_kwargs"] = {"timeout": timeout}
            system = kind(**options)
            if self.protocol == "s3":
                system.retries = 1  # of s3fs, in each of which botocore would try five times
            path = (
                kind._strip_protocol(start).rstrip("/") + below + tail if below else kind._strip_protocol(start + tail)
            )
            return system, path
        except Exception as error:
            message = f"{self} cannot be opened: {self._words(error)}"
        raise ImageFileError(message)

    def attempt(self, work: Callable[[Any, str], Found], doing: str = "read", shown: str = "") -> Found:
        """Do work on the file system and the path; again, after a pause, where that may help.

        Raises
        ------
        ArgumentError
            As `system`.
        ImageFileError
            It fails. Nothing of the message is secret; a file that is not there is named as such.
        """
        fs, path = self.system()
        most = TRIES_OF.get(self.protocol, TRIES)
        for n_tries in count(1):
            try:
                return work(fs, path)
            except GpuquantError:
                raise
            except Exception as error:
                message = f"{shown or self} cannot be {doing}: {self._words(error)}"
                if isinstance(error, FileNotFoundError) and doing == "read":
                    message = f"{self}: no such file"
                elif may_pass(error):
                    if n_tries < most:
                        time.sleep(PAUSE * 2 ** (n_tries - 1))
                        continue
                    message += " (tried several times)"
            raise ImageFileError(message)  # out of the handler: the error, which may tell secrets, is no part of it
        raise AssertionError("the last try raises")

    def _words(self, error: Exception) -> str:
        """An error's words, without secrets."""
        strerror = getattr(error, "strerror", None)
        said = strerror if isinstance(strerror, str) and strerror else str(error) or type(error).__name__
        parts = [*self.secrets, *re.split(r"[:@?&=#]", "&".join(self.secrets))]
        for secret in sorted((part for part in parts if len(part) >= LEAST_SECRET), key=len, reverse=True):
            said = said.replace(secret, "...")
        said = " ".join(_URL_IN_WORDS.sub(r"\1\2", said).split())
        if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
            said = f"access is denied ({said})"
        return said if len(said) <= MOST_LETTERS else f"{said[:MOST_LETTERS]}..."


def support() -> str:
    """Say which URLs are read."""
    if any(find_spec(name) is None for name in ("fsspec", "s3fs", "gcsfs")):
        return f"s3://, gs:// and https:// are read with: {INSTALL}"
    return "s3://, gs:// and https:// are read, and what else fsspec knows"


def renames(system: Any) -> bool:
    """True of a file system of fsspec that renames files: in others a half copy would show meanwhile."""
    return type(system).mv is not import_module("fsspec").AbstractFileSystem.mv


def may_pass(error: Exception) -> bool:
    """True of an error after which another try may do better: the other side is busy, or the line was cut."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    if getattr(error, "status" if hasattr(error, "status") else "code", None) in BUSY_STATUS:
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return (isinstance(error, OSError) and error.errno in BUSY) or bool(names & BUSY_NAMES)
