"""The note that an image file of ours carries, read without decoding its pixels: nothing in it is trusted."""

import io
import json
import zlib
from typing import BinaryIO

from gpuquant.images.directories import DirectoryFile
from gpuquant.locations import Place, looked_into, place_of

KEYWORD = "gpuquant"  # of a PNG's text, and the first word of a TIFF's description and of a GIF's comment
MOST_BYTES = 1 << 14  # of a note; ours have some 400
MOST_CHUNKS = 64  # of a PNG before its pixels; ours have 6 at most
MOST_GIF_BYTES = 1 << 16  # of a GIF that are searched; ours have the note among the first 1000
DESCRIPTION = 270  # TIFF's tag
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
PNG, GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")


def read_options(path: str | Place) -> dict[str, object] | None:
    """The options in a file that `save` wrote; None where there are none, or no such file, or a damaged one.

    Raises
    ------
    ImageFileError
        Nobody knows: the file cannot be read, or a URL does not answer.
    """
    try:
        options = json.loads(_read_note(path) or "null")
    except (ValueError, RecursionError):
        return None
    return options if isinstance(options, dict) else None


def is_whole(path: str | Place) -> bool:
    """Tell whether a file is a PNG, TIFF or GIF that ends as it should.

    Raises
    ------
    ImageFileError
        Nobody knows, as of `read_options`.
    """
    with looked_into(place_of(path)) as file:
        try:
            return file is not None and _ends_well(file)
        except (ValueError, IndexError):
            return False


def shortened(text: str, most: int) -> str:
    """Text that anyone may have written, in so many ASCII letters at most."""
    letters = text.encode("unicode_escape").decode()
    return letters if len(letters) <= most else letters[:most] + "..."


def _read_note(path: str | Place) -> str | None:
    """The note in a PNG, TIFF or GIF; None where there is none, or no such file, or a damaged one."""
    with looked_into(place_of(path)) as file:
        try:
            return None if file is None else _note_in(file)
        except (ValueError, IndexError):
            return None


def _note_in(file: BinaryIO) -> str | None:
    start = file.read(8)
    if start == PNG:
        return _in_png(file)
    file.seek(0)
    if start.startswith(GIF):
        return _in_gif(file.read(MOST_GIF_BYTES))
    return _in_tiff(file)


def _ends_well(file: BinaryIO) -> bool:
    start, n_bytes = file.read(8), file.seek(0, io.SEEK_END)
    file.seek(max(0, n_bytes - len(PNG_END)))
    end = file.read()
    if start == PNG:
        return end == PNG_END
    if start.startswith(GIF):
        return end.endswith(b";")
    directories = DirectoryFile(file)
    return directories.at(directories.first) is not None if directories.first else False


def _in_png(file: BinaryIO) -> str | None:
    for _ in range(MOST_CHUNKS):
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if kind in (b"IDAT", b"IEND", b""):
            return None
        if kind == b"tEXt" and length <= MOST_BYTES:
            keyword, _, text = (content := file.read(length)).partition(b"\0")
            if int.from_bytes(file.read(4), "big") != zlib.crc32(kind + content):
                return None
            if keyword == KEYWORD.encode():
                return text.decode("latin-1")
        else:
            file.seek(length + 4, 1)
    return None


def _in_gif(data: bytes) -> str | None:
    """The comments before the first picture."""
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)  # header and palette
    while data[place] == 0x21:  # an extension: its kind, and blocks that each begin with their length
        kind, place, content = data[place + 1], place + 2, b""
        while length := data[place]:
            content += data[place + 1 : place + 1 + length]
            place += 1 + length
        place += 1
        if kind == 0xFE and (note := _after_keyword(content[: MOST_BYTES + len(KEYWORD) + 1].decode("latin-1"))):
            return note
    return None


def _in_tiff(file: BinaryIO) -> str | None:
    directories = DirectoryFile(file)
    text = directories.at(directories.first).tags.get(DESCRIPTION) if directories.first else None
    return _after_keyword(text) if isinstance(text, str) else None


def _after_keyword(text: str) -> str | None:
    word, _, note = text.partition(" ")
    return note if word == KEYWORD and len(note) <= MOST_BYTES else None
