"""Words for the files in a folder that are not read: how many, by ending, and what would read them."""

from gpuquant.images.heif import avif_advice, register
from gpuquant.images.note import shortened

MOST_NAMED = 5  # endings
MOST_LETTERS = 16  # of an ending: what follows the last dot of a name may be long
HEIC = {".heic", ".heics", ".heif", ".heifs", ".hif"}
RAW = {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf"}
RAW |= {".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}


def passed_over_words(numbers: dict[str, int], n_results: int = 0) -> str:
    """Count them in words, by ending: "7 passed over: 6 .heic (pip install 'gpuquant[heic]'), 1 result of gpuquant"."""
    endings = sorted(numbers, key=lambda ending: (-numbers[ending], ending))
    words = [f"{numbers[ending]} {_name(ending)}{_advice(ending)}" for ending in endings[:MOST_NAMED]]
    rest = sum(numbers[ending] for ending in endings[MOST_NAMED:])
    words += [f"{rest} others"] * (rest > 0)
    words += [f"{n_results} result{'s' * (n_results > 1)} of gpuquant"] * (n_results > 0)
    return f"{sum(numbers.values()) + n_results} passed over: {', '.join(words)}"


def _name(ending: str) -> str:
    return shortened(ending, MOST_LETTERS) or "without an ending"


def _advice(ending: str) -> str:
    if ending in HEIC and (way_out := register()):
        return f" ({way_out})"
    if ending in (".avif", ".avifs"):
        return f" ({avif_advice()})"
    return " (raw photos: develop them first)" if ending in RAW else ""
