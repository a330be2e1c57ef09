"""A JPEG file without the segments of metadata that are too short to be what they call themselves."""

import io
from typing import BinaryIO

SHORTEST = {b"JFIF": (0xE0, 14), b"ICC_PROFILE\0": (0xE2, 14), b"Adobe": (0xEE, 12)}  # by the specification of each
MOST_SEGMENTS = 10_000  # before the pixels; the longest profile takes 255, and the rest is then kept as it is
START_OF_SCAN, WITHOUT_LENGTH = 0xDA, (0x01, *range(0xD0, 0xDA))  # markers: ITU-T T.81, table B.1


def without_short_segments(file: BinaryIO) -> BinaryIO | None:
    """The file without those segments; None if there are none, or it is no JPEG."""
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return None
    kept, is_short = io.BytesIO(), False
    kept.write(b"\xff\xd8")
    for _ in range(MOST_SEGMENTS):
        head = file.read(2)
        if len(head) < 2 or head[0] != 0xFF or head[1] == START_OF_SCAN or head[1] in WITHOUT_LENGTH:
            kept.write(head)
            break
        if head[1] == 0xFF:  # a byte that fills
            file.seek(-1, io.SEEK_CUR)
            continue
        size = file.read(2)
        data = file.read(max(0, int.from_bytes(size) - 2))
        if any(head[1] == marker and data.startswith(name) and len(data) < n for name, (marker, n) in SHORTEST.items()):
            is_short = True
        else:
            kept.write(head + size + data)
    if not is_short:
        return None
    kept.write(file.read())
    kept.seek(0)
    return kept
