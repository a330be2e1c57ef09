"""Color spaces as ICC profiles, made from their chromaticities and transfer curve.

Sources: ICC.1:2010 (profile version 4.3); the numbers of color spaces from ITU-T H.273.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

D65 = (0.3127, 0.3290)  # x and y of the white of sRGB: IEC 61966-2-1
D50 = (0.9642, 1.0, 0.8249)  # X, Y and Z of the white of all ICC profiles
ROUNDING = 0.0015  # of chromaticities: files give three digits or more, and D65 as 0.3127 or 0.313
GAMMA_ROUNDING = 0.0005  # of the exponent of a gAMA chunk: 1 / 2.2 with three digits or more
FLATTEST = 1e-3  # determinant of X, Y, Z of the primaries: near 0 they lie on a line; BT.709's is 19 and BT.2020's 40
HIGHEST = 100  # of X, Y, Z at full level: white has 1, and a profile holds at most 32767
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1, as parameters of ICC's type 3
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
BT709: Primaries = (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)  # x and y of red, green and blue, which are sRGB's, too


@dataclass(frozen=True)
class ColorSpace:
    """Levels that are decoded by a curve: level ** gamma, or as ICC's parametric curve of type 3, such as sRGB's."""

    curve: float | tuple[float, float, float, float, float]
    primaries: Primaries = BT709
    white: tuple[float, float] = D65


SRGB = ColorSpace(SRGB_CURVE)
ADOBE_RGB = ColorSpace(563 / 256, ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)))  # Adobe RGB (1998) color image encoding
CODED_PRIMARIES: dict[int, tuple[Primaries, tuple[float, float]]] = {  # H.273, table 2
    1: (BT709, D65),
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), (0.310, 0.316)),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    7: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    12: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65),
}
CODED_CURVES: dict[int, float | tuple[float, float, float, float, float]] = {4: 2.2, 5: 2.8, 8: 1.0, 13: SRGB_CURVE}


def coded_space(primaries: int, transfer: int) -> ColorSpace | None:
    """The color space of two numbers of H.273; None of those that are not meant for stills on a screen."""
    if primaries not in CODED_PRIMARIES or transfer not in CODED_CURVES:
        return None
    return ColorSpace(CODED_CURVES[transfer], *CODED_PRIMARIES[primaries])


def is_srgb(space: ColorSpace) -> bool:
    """True of sRGB as files write it: with the gamma of its fallback, and rounded."""
    found, known = np.array([*space.primaries, space.white]), np.array([*BT709, D65])
    fallback = isinstance(space.curve, float) and abs(1 / space.curve - 0.45455) < GAMMA_ROUNDING
    return (space.curve == SRGB_CURVE or fallback) and bool(np.abs(found - known).max() < ROUNDING)


def icc_profile(space: ColorSpace, *, gray: bool) -> bytes | None:
    """The profile; None if there cannot be such a space."""
    if not all(0 < y <= 1 and 0 <= x <= 1 for x, y in (*space.primaries, space.white)):
        return None
    curve = _curve(space.curve)
    tags = [(b"desc", _text("color space of the file")), (b"cprt", _text("none")), (b"wtpt", _xyz(np.array(D50)))]
    if gray:
        tags.append((b"kTRC", curve))
    else:
        matrix = _to_d50(space)
        if matrix is None:
            return None
        names = (b"rXYZ", b"gXYZ", b"bXYZ")
        tags += [(name, _xyz(column)) for name, column in zip(names, matrix.T, strict=True)]
        tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return _assembled(tags, b"GRAY" if gray else b"RGB ")


def _to_d50(space: ColorSpace) -> npt.NDArray[np.float64] | None:  # [3, 3], linear R, G, B to X, Y, Z
    corners = np.array([(x / y, 1, (1 - x - y) / y) for x, y in space.primaries]).T
    x, y = space.white
    white = np.array([x / y, 1, (1 - x - y) / y])
    if abs(np.linalg.det(corners)) < FLATTEST:
        return None
    matrix = corners * np.linalg.solve(corners, white)
    cones = BRADFORD @ white
    if cones.min() <= 0:
        return None
    adapted: npt.NDArray[np.float64] = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / cones) @ BRADFORD @ matrix
    return adapted if np.abs(adapted).max() < HIGHEST else None


def _curve(curve: float | tuple[float, ...]) -> bytes:
    kind, numbers = (0, (curve,)) if isinstance(curve, float) else (3, curve)
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + b"".join(_fixed(number) for number in numbers)


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(value)) for value in values)


def _text(words: str) -> bytes:
    data = words.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def _assembled(tags: list[tuple[bytes, bytes]], kind: bytes) -> bytes:
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    dates = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04300000, b"mntr", kind, b"XYZ ") + dates + b"acsp"
    head = head.ljust(68, b"\0") + b"".join(_fixed(value) for value in D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
