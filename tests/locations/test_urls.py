"""Places as text: URLs, with what is shown of them, and paths."""

import pickle
import traceback
from pathlib import Path

import pytest
from stores import SECRETS, contents, location, read

from gpuquant.errors import ArgumentError
from gpuquant.images.targets import whole_target
from gpuquant.locations import (
    identity_of,
    is_url,
    place_of,
    place_shown,
)


@pytest.mark.parametrize(
    ("url", "shown", "name", "suffix", "parent"),
    [
        ("s3://bucket/a/b.JPG", "s3://bucket/a/b.JPG", "b.JPG", ".JPG", "s3://bucket/a"),
        ("S3A://bucket/a/", "s3://bucket/a", "a", "", "s3://bucket"),
        ("gcs://bucket", "gs://bucket", "bucket", "", "gs://"),
        ("memory:///a.png", "memory://a.png", "a.png", ".png", "memory://"),
        (
            "https://me:hunter2@host:80/a.jpg?x=token-of-mine/b.c",
            "https://host:80/a.jpg",
            "a.jpg",
            ".jpg",
            "https://host:80",
        ),
        ("https://host/a@b/c.jpg#token-of-mine", "https://host/a@b/c.jpg", "c.jpg", ".jpg", "https://host/a@b"),
        ("ftp://me:hunter2:@@host/a", "ftp://host/a", "a", "", "ftp://host"),
    ],
)
def test_urls_as_text(url: str, shown: str, name: str, suffix: str, parent: str) -> None:
    place = location(url)
    assert (str(place), place.name, place.suffix, str(place.parent)) == (shown, name, suffix, parent)
    assert place.with_name("x.png").name == "x.png"
    for text in (repr(place), f"{place}", str(place.parent / "x"), repr([place])):
        assert not any(secret in text for secret in SECRETS)
    again = pickle.loads(pickle.dumps(place))
    assert (again, again.secrets) == (place, place.secrets)
    assert place_of(place) is place
    assert is_url(url)


def test_what_is_no_url() -> None:
    for text in ("a.jpg", "/a/b", "C:/a.jpg", "C://a.jpg", "a:b", "://a", "#000,#fff", "s3:/a"):
        assert not is_url(text)
        assert place_of(text) == Path(text)
    assert not is_url("")


def test_a_path_that_was_a_url_is_refused() -> None:
    for url in ("s3://bucket/a.jpg", "gs://bucket", "https://host/a.jpg", "memory://a"):
        with pytest.raises(ArgumentError, match=r"^a URL, \w+://..., became a Path before, .*: give a text$"):
            place_of(Path(url))
    assert place_of(Path("s3")) == Path("s3")


@pytest.mark.parametrize("name", ["#1", "photo #1.png", "why?.png", "a?b#c", "1#2?", "a\tb\nc", "x?versionId"])
@pytest.mark.parametrize("url", ["memory://box", "shelf://box", "s3://box/deep", "gs://box", "sftp://host/box"])
def test_names_may_have_what_begins_a_query_or_fragment(name: str, url: str) -> None:
    place = location(f"{url}/{name}")
    assert (place.name, str(place), place.secrets) == (name, f"{url}/{name}", ("", ""))
    assert place == location(url) / name
    assert place_shown(str(place)) == place
    assert location(f"{url}/{name}/").ends_with_slash
    if url.startswith(("memory", "shelf")):
        with whole_target(place) as file:
            file.write(b"1")
        assert contents(url) == {name: b"1"}
        assert read(place) == b"1"
        assert [
            (read(found), found) for found in (location(url).at(*one) for one in location(url).listed(recursive=True))
        ] == [(b"1", place)]
    elif url.startswith("s3"):
        assert place.system()[1] == f"{url.partition('://')[2]}/{name}"


def test_versions_of_objects_are_read_and_not_written() -> None:
    place = location("s3://box/a #1.png?versionId=token-of-mine")
    assert (str(place), place.name) == ("s3://box/a #1.png", "a #1.png")
    system, path = place.system()
    assert system.split_path(path) == ("box", "a #1.png", "token-of-mine")
    assert not (location("s3://box/a #1.png").system()[0]).version_aware
    for url in ("s3://box/a.png?versionId=token-of-mine", "shelf://box/a.png?key=token-of-mine"):
        with pytest.raises(
            ArgumentError, match=r"//box/a\.png: a URL with a query can only be read; name what"
        ) as found:
            location(url).check_target()
        assert "token-of-mine" not in str(found.value)


@pytest.mark.parametrize(
    "text",
    [
        "simplecache::https://me:hunter2@host/a.jpg?key=token-of-mine",
        "zip://a.png::https://me:hunter2@host/a.zip",
        "s3://bucket/a::https://me:hunter2@host/a",
        " https://me:hunter2@host/a.jpg",
        "'https://me:hunter2@host/a.jpg",
        "s3://me:hun/ter2hunter2@bucket/a.jpg",
        "S3A://me:12/hunter2@bucket/a.jpg",
        "gs://me:h?hunter2@bucket/a.jpg",
        "https://me:hun/hunter2@host/a.jpg",
        "ftp://me:#hunter2@host/a.jpg",
        "https://me:hunter2?token-of-mine@host/a.jpg",
        "s3://bucket/a.jpg?X-Amz-Signature=token-of-mine/b.jpg",
        "abfs://box@host/a.jpg?sv=1&sig=token-of-mine",
    ],
)
def test_urls_that_are_not_taken_are_not_shown(text: str) -> None:
    assert is_url(text)
    given: list[str | Path] = [text, Path(text)] if "::" in text and "s3" not in text[:2] else [text]
    for one in given:
        with pytest.raises(ArgumentError) as found:
            place_of(one)
        shown = "".join(traceback.format_exception_only(found.value))
        assert not any(secret in shown for secret in SECRETS)
        assert shown.count("\n") == 1


def test_hosts_and_access_points() -> None:
    for url in (
        "https://[::1]:8080/a.jpg", "https://host:/a.jpg", "s3://arn:aws:s3:eu-west-1:1:accesspoint/mine/a.jpg",
        "https://host/a:b@c::d.jpg", "s3://host/a:b@c::d.jpg", "https://me:p:w@[::1]/a.jpg",
    ):  # fmt: skip
        assert str(location(url)) == url.replace("me:p:w@", "")
    assert place_shown("file:///a.jpg") == Path("file:///a.jpg")
    assert place_shown("a/b?c#d.jpg") == Path("a/b?c#d.jpg")


def test_urls_of_files_are_paths(tmp_path: Path) -> None:
    for name in ("a.png", "a b.png", "ä#1 100%.png", "%41.png"):
        path = tmp_path / name
        assert place_of(path.as_uri()) == path
        assert place_of(path.as_uri().replace("file://", "FILE://localhost")) == path


def test_two_names_of_one_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert identity_of(tmp_path / "link" / "a") == identity_of(tmp_path / "a")
    assert identity_of(place_of("s3a://b/a/")) == identity_of(place_of("s3://b/a"))
    assert identity_of(place_of("https://h/a?id=1")) != identity_of(place_of("https://h/a?id=2"))
