"""Words for what goes wrong inside Pillow: in one line, about the file and not about Python."""

from PIL import UnidentifiedImageError

DAMAGED = "the file is damaged"
ERRORS = {  # what Pillow says, or the system under it; the first that is found
    "image file is truncated": "{said}",  # which is plain
    "truncated": f"{DAMAGED}: its end is missing",
    "unexpected end": f"{DAMAGED}: its end is missing",
    "premature end": f"{DAMAGED}: its end is missing",
    "end of file": f"{DAMAGED}: its end is missing",
    "buffer is not large enough": f"{DAMAGED}: its end is missing",
    "not enough image data": f"{DAMAGED}: its end is missing",
    "eof": f"{DAMAGED}: its end is missing",
    "missing dimensions": f"{DAMAGED}: a page in it has no width or height",
    "broken data stream": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "decoder error": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "decoding error": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "decode error": f"{DAMAGED}: its compressed pixels cannot be decoded",  # this and the next ones of libvips
    "read error": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "unable to call": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "corrupt jpeg data": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "unrecognized data stream": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "buffer overrun": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "broken png file": f"{DAMAGED}: a checksum or a part of it is wrong",
    "bad header checksum": f"{DAMAGED}: a checksum or a part of it is wrong",
    "bad configuration": f"{DAMAGED}: what its header says does not fit together",
    "invalid argument": f"{DAMAGED}: it refers to places outside it",
    "out of memory": "it does not fit into memory",
    "cannot allocate": "it does not fit into memory",
    "unable to locate ghostscript": "reading this format needs Ghostscript, which is not installed",
    "cannot load this image": f"{DAMAGED}: it holds no pixels",
    "create decoder object": f"{DAMAGED}: its end is missing",
    "decoder plugin generated an error": f"{DAMAGED}: its compressed pixels cannot be decoded",
    "invalid input": f"{DAMAGED}: {{said}}",  # of libheif, which then says what
    "cannot find loader": "Pillow has no decoder for this format here",
    "decoder": "Pillow has no decoder for what is in it: {said}",
}
WARNINGS = {  # None: told elsewhere, or of no consequence
    "expected size": "the picture in it has another size than the file says",
    "malformed mpo": "its index of further pictures is damaged; the first one is used",
    "invalid apng": "its animation is damaged; the still picture is used",
    "transparency expressed in bytes": None,
}
TAGS = ("exif data", "tag offset", "tag data", "metadata warning", "truncated file read")
PLAIN = (OSError, SyntaxError, ValueError)  # whose words are about the file; others are about Python


def words_of(error: Exception) -> str:
    """An error of Pillow's, in one line."""
    said = " ".join((str(error) if not isinstance(error, OSError) else error.strerror or str(error)).split())
    for sign, words in ERRORS.items():
        if sign in said.lower():
            return words.format(said=said)
    if said.lstrip("-").isdigit():  # the code of a decoder, in old versions of Pillow
        return ERRORS["decoder error"]
    if isinstance(error, UnidentifiedImageError) or not said or not isinstance(error, PLAIN):
        return f"{DAMAGED}: what it says of itself does not fit together"
    return said


def notes_of(warnings: list[str], *, is_tiff: bool, damaged: bool = False) -> tuple[str, ...]:
    """Warnings of Pillow's as notes, each once."""
    notes: dict[str, None] = {f"{DAMAGED}; some of its pixels may be wrong": None} if damaged else {}
    for said in warnings:
        note: str | None = f"Pillow says: {said}"
        if any(sign in said.lower() for sign in TAGS):
            note = "some of its tags cannot be read, and are left out" if is_tiff else None
        for sign, words in WARNINGS.items():
            if sign in said.lower():
                note = words
        if note:
            notes[note] = None
    return tuple(notes)
