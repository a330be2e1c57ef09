"""An AVIF file without its EXIF block: Pillow reads none with one that is garbage."""

import io
import re
from typing import BinaryIO

MOST_BYTES = 1_000_000  # in which the table of items is: encoders write it first, with less than 100 bytes an item
ITEM = re.compile(rb"(infe[\x02\x03]...(?:..|....)..)Exif", re.DOTALL)  # ISO/IEC 14496-12: an entry of the table


def without_exif(file: BinaryIO) -> BinaryIO | None:
    """The file with another name in place of that of its EXIF item; None if it has none or is no AVIF."""
    file.seek(0)
    head = file.read(MOST_BYTES)
    if head[4:8] != b"ftyp":
        return None
    changed = ITEM.sub(rb"\1none", head)
    return None if changed == head else io.BytesIO(changed + file.read())
