"""What is said of the files that a folder's photos are taken from between: how many, by ending, and what reads them."""

from importlib.util import find_spec

from gpuquant.image_heif import INSTALL

MOST_NAMED = 5  # endings
MOST_LETTERS = 16  # of an ending: what follows the last dot of a name may be long
HEIC = {".heic", ".heics", ".heif", ".heifs", ".hif"}
RAW = {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf"}
RAW |= {".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}


def passed_over_words(numbers: dict[str, int]) -> str:
    """Such as "7 passed over: 6 .heic (pip install 'gpuquant[heic]'), 1 .txt"; the numbers are those of endings."""
    endings = sorted(numbers, key=lambda ending: (-numbers[ending], ending))
    words = [f"{numbers[ending]} {_name(ending)}{_advice(ending)}" for ending in endings[:MOST_NAMED]]
    rest = sum(numbers[ending] for ending in endings[MOST_NAMED:])
    return f"{sum(numbers.values())} passed over: {', '.join(words + [f'{rest} others'] * (rest > 0))}"


def _name(ending: str) -> str:
    letters = ending.encode("unicode_escape").decode()
    return letters[:MOST_LETTERS] + "..." * (len(letters) > MOST_LETTERS) if letters else "without an ending"


def _advice(ending: str) -> str:
    if ending in HEIC and find_spec("pillow_heif") is None:
        return f" ({INSTALL})"
    if ending in (".avif", ".avifs"):
        return " (Pillow 11.3 or newer reads it)"
    return " (raw photos: develop them first)" if ending in RAW else ""
