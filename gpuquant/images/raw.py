"""Raw photos, by their tags: Pillow opens many of them as TIFF, and gives the small preview."""

from typing import BinaryIO

from gpuquant.images.directories import DirectoryFile

DNG_VERSION, PHOTOMETRIC, SUBFILE_TYPE, WIDTH, HEIGHT = 50706, 262, 254, 256, 257  # tags of DNG and TIFF 6.0
SENSOR_SAMPLES = (32803, 34892)  # a color filter array, and what was made of one: TIFF/EP and DNG specifications
SIGNATURES = (  # and where they are, of formats that are not TIFF, or only nearly
    (8, b"CR\x02"),  # Canon's CR2
    (4, b"ftypcrx "),  # CR3
    (0, b"IIRO"),  # Olympus
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"IIU\0"),  # Panasonic
    (0, b"FUJIFILMCCD-RAW"),
    (0, b"FOVb"),  # Sigma
    (0, b"\0MRM"),  # Minolta
)


def is_raw_photo(file: BinaryIO) -> bool:
    """True of a file that holds the samples of a sensor, whatever its name is."""
    file.seek(0)
    head = file.read(16)
    if any(head[place:].startswith(letters) for place, letters in SIGNATURES):
        return True
    directories = DirectoryFile(file)
    if not directories.first:
        return False
    chain = directories.chain()
    every = chain + [found for directory in chain for found in directories.below(directory)]
    if chain and DNG_VERSION in chain[0].tags:
        return True
    return any(directory.number(PHOTOMETRIC) in SENSOR_SAMPLES for directory in every)


def begins_with_preview(file: BinaryIO) -> bool:
    """True of a TIFF whose first picture is, by its tags, a smaller copy of another one, which has more pixels."""
    directories = DirectoryFile(file)
    chain = directories.chain()
    if not chain or not (chain[0].number(SUBFILE_TYPE) or 0) & 1:
        return False
    others = chain[1:] + directories.below(chain[0])
    n_pixels = [(found.number(WIDTH) or 0) * (found.number(HEIGHT) or 0) for found in [chain[0], *others]]
    return max(n_pixels) > n_pixels[0]
