"""URLs as texts: the places that they name, and what of them may be shown."""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote

from gpuquant.errors import ArgumentError
from gpuquant.locations.places import OBJECT_STORES, Location, Place
from gpuquant.locations.stores import READ_ONLY

ALIASES = {"s3a": "s3", "gcs": "gs"}

_URL_AS_PATH = re.compile(r"(?:.*::)?(s3a?|gcs|gs|https?|memory):/", re.DOTALL)
_URL_WITHIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters: not a drive's
_URL = re.compile(rf"({_URL_WITHIN.pattern})([^/?#]*@)?(.*)", re.DOTALL)
_CHAINED = re.compile(rf"::.*{_URL_WITHIN.pattern}", re.DOTALL)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:/]*)(?::[0-9]*)?(?:/.*)?", re.DOTALL)
_BUCKET = re.compile(r"[^:/]*(?:/.*)?|arn:.*", re.DOTALL)  # or Amazon's name of an access point
_TAIL_ON_THE_WEB = re.compile(r"[?#].*", re.DOTALL)
_TAIL = re.compile(r"\?[\w.~%-]+=.*", re.DOTALL)  # else "?" and "#" are letters of names as others are
_VERSION = re.compile(r"\?(?:versionId|versionid|generation)=[^/?#&=]+")


def is_url(text: object) -> bool:
    """True of a text that is a URL, or has one in it."""
    return isinstance(text, str) and _URL_WITHIN.search(text) is not None


def place_of(given: str | os.PathLike[str] | Location) -> Place:
    """The place that a path or a URL names; that of `file://` is a path.

    A query and a fragment end what is shown at https://; elsewhere "#" is a letter of a name as others are, and so is
    "?", unless "name=" follows it: at object stores such as S3 that is ?versionId= alone.

    Raises
    ------
    ArgumentError
        It is empty, which would be the current folder; or a `Path` made of a URL, or holds one in a way that is not
        taken; nothing secret of it is told.

    Examples
    --------
    >>> from gpuquant.locations import place_of
    >>> place_of("s3://bucket/photos/") / "a.jpg"
    Location('s3://bucket/photos/a.jpg')
    >>> place_of("file:///photos/a%20b.jpg").name
    'a b.jpg'
    >>> print(place_of("https://me:secret@example.org/a.jpg?key=secret"))
    https://example.org/a.jpg
    """
    if isinstance(given, Location):
        return given
    if given in ("", "file://", "local://"):
        raise ArgumentError(f"{given!r} is no file or folder")
    if isinstance(given, Path) and (as_path := _URL_AS_PATH.match(str(given))):
        raise ArgumentError(f"a URL, {as_path[1]}://..., became a Path before, which takes a slash off: give a text")
    if not isinstance(given, str) or not is_url(given):
        return Path(given)
    found = _URL.fullmatch(given)
    if found is None or _CHAINED.search(given):
        raise ArgumentError(
            "a URL with something before it, or with '::' and another one in it, is not taken; name a file"
        )
    protocol, user, rest = found[1].removesuffix("://").lower(), found[2] or "", found[3]
    if protocol in ("file", "local"):
        return Path(unquote(f"{user}{rest}".removeprefix("localhost")))
    protocol = ALIASES.get(protocol, protocol)
    path, tail = _path_and_tail(protocol, rest)
    return Location(protocol, path.rstrip("/"), (user, tail), ends_with_slash=path.endswith("/") and not tail)


def _path_and_tail(protocol: str, rest: str) -> tuple[str, str]:
    """Split a URL into what is shown and what is a secret, behind user info: nothing of the latter is in an error."""
    found = (_TAIL_ON_THE_WEB if protocol in READ_ONLY else _TAIL).search(rest)
    path, tail = (rest[: found.start()], rest[found.start() :]) if found else (rest, "")
    if protocol == "memory":
        path = path.lstrip("/")
    elif protocol in OBJECT_STORES and not _BUCKET.fullmatch(path):
        raise ArgumentError(
            f"a URL, {protocol}://..., has a ':' before its key; keys and secrets of users are no part of it"
        )
    elif protocol not in OBJECT_STORES and not _HOST.fullmatch(path):
        raise ArgumentError(f"a URL, {protocol}://..., has a ':' without a port; a '/' in a password is written as %2F")
    if tail and protocol in OBJECT_STORES and not _VERSION.fullmatch(tail):
        advice = "a file with such a name is read where its folder is named"
        raise ArgumentError(f"{protocol}://{path}?...: {protocol}:// takes no query but ?versionId=; {advice}")
    return path, tail


def without_secrets(text: str) -> str:
    """A text with a URL at its end, of which only that is left which may be shown."""
    found = _URL_WITHIN.search(text)
    if found is None:
        return text
    try:
        return text[: found.start()] + str(place_of(text[found.start() :]))
    except ArgumentError:
        return f"{text[: found.start()]}{found[0]}..."


def place_shown(text: str) -> Place:
    """The place that was shown as a text, as far as that tells: what "?" or "#" is in it is a part of a name."""
    protocol, _, path = text.partition("://")
    is_location = _URL_WITHIN.match(text) and protocol not in ("file", "local")
    return Location(protocol, path) if is_location else Path(text)


def temporary_folder(target: object) -> Path:
    """The folder for the temporary files of a target: beside a path, else the system's."""
    place = place_of(target) if isinstance(target, str | os.PathLike | Location) else None
    return place.absolute().parent if isinstance(place, Path) else Path(tempfile.gettempdir())
