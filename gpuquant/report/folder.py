"""The files of a page, beside it in a folder of their own: a record and two thumbnails for each photo.

Whoever works on a photo writes them when its result is there, on whatever machine, and whoever makes the page reads
them: so the page of a batch that was taken up again is that of one that ran through.
"""

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.targets import whole_target
from gpuquant.locations import Location, Place, files_among, identity_of, is_there, looked_into, make_folder, way_to
from gpuquant.report.record import PhotoRecord, record_of
from gpuquant.whole_file import told

PAGE = "report.html"
FILES = "gpuquant-report-files"  # not hidden, so that it is copied and served with the page; batches do not read it
GENERATOR = '<meta name="generator" content="gpuquant '
MOST_BYTES = 1 << 20  # of a record; ours have some 1500
AT_ENDS = 1 << 12  # bytes at either end of a result that tell it from others: its palette, and what depends on all
KEY_LETTERS = 20  # 80 bits: no two results of a folder have the same
KINDS = "before", "after"
OUR_NAME = re.compile(rf"([0-9a-f]{{{KEY_LETTERS}}})(?:-(?:{'|'.join(KINDS)})\.jpg|\.json)")
UNKEPT = "it has no thumbnails in the report"
OTHER_FOLDERS = re.compile(  # in words: those of a URL, and of a path, which may have spaces in it
    r"""[A-Za-z][A-Za-z0-9+.-]*://\S*/|(?<![\w./~])/(?=\S)[^:;,'"()<>\n]*/"""
)


class ReportFolder:
    """Records and thumbnails, by the results that they are of."""

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.page = folder / PAGE
        self._files = folder / FILES

    def check_page(self) -> None:
        """Refuse to overwrite a page of someone else's.

        Raises
        ------
        ArgumentError
            There is a file of this name that does not say that gpuquant wrote it.
        ImageFileError
            It cannot be read, or a URL does not answer.
        """
        has_name = (isinstance(self.page, Path) and self.page.is_symlink()) or is_there(self.page)
        if has_name and GENERATOR.encode() not in _start_of(self.page, AT_ENDS):
            reason = f"{self.page} is not overwritten: it does not say that gpuquant wrote it"
            raise ArgumentError(f"{reason}; move or rename it")

    def keep(
        self,
        record: PhotoRecord,
        source: Place | None,
        target: Place,
        thumbnails: tuple[bytes | None, bytes | None],  # of the photo and of the result, as JPEG files
    ) -> PhotoRecord:
        """Write a record and its thumbnails, which it then knows, with the places of the two files.

        Raises
        ------
        ImageFileError
            They cannot be written. Then there are none.
        """
        if isinstance(self._files, Path) and self._files.is_symlink():
            raise ImageFileError(f"{self._files} is a symlink; remove it, and the report's files are written there")
        make_folder(self._files)
        key = self._key(target)
        before, after = (
            None if data is None else f"{key}-{kind}.jpg" for data, kind in zip(thumbnails, KINDS, strict=True)
        )
        place = None if source is None else self.place_of(source)
        record = replace(record, source=place, target=self.place_of(target), before=before, after=after)
        record = self.to_share(record)
        values = json.dumps({"mark": _mark_of(target), **asdict(record)}).encode()
        data_of = {before: thumbnails[0], after: thumbnails[1], f"{key}.json": values}
        try:
            for name, data in data_of.items():
                if name is not None and data is not None:
                    self._write(name, data)
        except ImageFileError:  # what is there without its record would be found by nobody, and fill the disk
            for name in filter(None, data_of):
                with suppress(OSError):
                    _remove(self._files / name)
            raise
        return record

    def kept(self, target: Place) -> PhotoRecord | None:
        """The record that was written when the result was; None where there is none, or the result is another one.

        Raises
        ------
        ImageFileError
            Nobody knows, as a file cannot be read, or a URL does not answer.
        """
        key = self._key(target)
        values = self._values(key)
        record = record_of(values)
        mark = None if record is None else _mark_of(target)
        if record is None or mark is None or values.get("mark") != mark:
            return None
        names = zip((record.before, record.after), (f"{key}-{kind}.jpg" for kind in KINDS), strict=True)
        before, after = (name if said == name and _is_file(self._files / name) else None for said, name in names)
        return replace(record, target=self.place_of(target), before=before, after=after)

    def forget_gone(self, there: Iterable[Place]) -> None:
        """Remove the records and thumbnails of results that are gone; which of them are there is known of some.

        Of others it is looked up. Where nobody knows, or something cannot be removed, it stays.
        """
        known = {self._key(target) for target in there}
        found: dict[str, list[str]] = {}
        with suppress(OSError):
            for name in self._names():
                ours = OUR_NAME.fullmatch(name)
                if ours and ours[1] not in known:
                    found.setdefault(ours[1], []).append(name)
        for key, names in found.items():
            with suppress(OSError):
                if self._is_gone(key):
                    for name in sorted(names):  # the record last, without which nobody knows of what the others are
                        _remove(self._files / name)

    def place_of(self, place: Place) -> str | None:
        """Path of a file from here; None where there is no way: no link leads from disk to a URL, or to another store.

        Such a link could not be opened without credentials, or would tell where something is.
        """
        return way_to(place, self.folder)

    def name_of(self, source: Place, target: Place) -> str:
        """A photo's name on the page: its path from there, or as if it lay beside its result; it tells no more."""
        beside = posixpath.dirname(self.place_of(target) or "")
        return self.place_of(source) or posixpath.join(beside, source.name)

    def to_share(self, record: PhotoRecord) -> PhotoRecord:
        """A record whose error and warnings tell names of files, and no longer where on this machine they are."""
        tops = {
            identity_of(self.folder),
            str(self.folder if isinstance(self.folder, Location) else self.folder.absolute()),
        }
        tops |= {posixpath.dirname(posixpath.normpath(f"{top}/{record.source}")) for top in tops if record.source}
        longest_first = sorted(tops - {"/"}, key=len, reverse=True)

        def shared(text: str) -> str:
            for top in longest_first:
                text = text.replace(f"{top}/", "")
            return OTHER_FOLDERS.sub("", text)

        error = None if record.error is None else shared(record.error)
        return replace(record, error=error, warnings=tuple(map(shared, record.warnings)))

    def with_links_that_lead(self, records: Sequence[PhotoRecord]) -> list[PhotoRecord]:
        """The same records, without the places of photos that are not there; where nobody knows they stay."""
        places = {one.source: self._at_end_of(one.source) for one in records if one.source is not None}
        try:
            there = files_among(places.values())
        except ImageFileError:
            return list(records)
        return [
            one if one.source is None or places[one.source] in there else replace(one, source=None) for one in records
        ]

    def _at_end_of(self, way: str) -> Place:
        """The place at the end of a way from here, as `place_of` gives it."""
        if isinstance(self.folder, Path):
            return Path(os.path.normpath(Path(identity_of(self.folder), way)))
        path = posixpath.normpath(posixpath.join(f"/{self.folder.path}", way)).lstrip("/")
        return replace(self.folder / PAGE, path=path)

    def _names(self) -> list[str]:
        if isinstance(self._files, Location):
            return [name for name, _ in self._files.listed(recursive=False)]
        return [] if self._files.is_symlink() else [path.name for path in self._files.iterdir()]

    def _is_gone(self, key: str) -> bool:
        """True where there is a record of that key, and no result that it is of."""
        record = record_of(self._values(key))
        if record is None or record.target is None:
            return False
        target = self.folder / record.target
        return self._key(target) == key and not _is_file(target)

    def _values(self, key: str) -> Any:
        """The values in the file of that key, if it is JSON."""
        try:
            return json.loads(_start_of(self._files / f"{key}.json", MOST_BYTES) or b"null")
        except (ValueError, RecursionError):
            return None

    def _key(self, target: Place) -> str:
        name = self.place_of(target) or str(target)
        return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:KEY_LETTERS]

    def _write(self, name: str, data: bytes) -> None:
        with whole_target(self._files / name) as file:
            file.write(data)


def link_to(place: str | None) -> str | None:
    """A relative link: however a file is called, it is no scheme, no other host, and no end of the link."""
    if place is None:
        return None
    link = quote(os.fsencode(place))
    return link if link.startswith("../") else f"./{link}"


def _mark_of(place: Place) -> str | None:
    """Bytes and their number that tell a result from another one under its name; None where there is none."""
    with looked_into(place) as file:
        if file is None:
            return None
        digest = hashlib.sha256(file.read(AT_ENDS))
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - AT_ENDS))
        digest.update(file.read())
    return f"{n_bytes} {digest.hexdigest()[:KEY_LETTERS]}"


def _start_of(place: Place, most: int) -> bytes:
    """So many bytes of a file; none where there is none."""
    with looked_into(place) as file:
        return b"" if file is None else file.read(most)


def _is_file(place: Place) -> bool:
    """True where a file is there, and not something else; where nobody knows that is an error, as of `looked_into`."""
    with told(lambda reason: ImageFileError(f"{place} cannot be read: {reason}")):
        return place.is_file()


def _remove(place: Place) -> None:
    if isinstance(place, Path):
        place.unlink()
    else:
        place.attempt(lambda fs, path: fs.rm_file(path), "removed")
