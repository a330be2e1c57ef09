"""Places of files: paths, and URLs that fsspec knows."""

from gpuquant.locations.copies import IN_MEMORY, LocalCopy
from gpuquant.locations.folders import common_folder, is_inside, make_folder, resolved, way_to
from gpuquant.locations.many import files_among, for_each
from gpuquant.locations.places import (
    Location,
    Place,
    identity_of,
    is_below,
    is_there,
    is_url,
    joined,
    place_of,
    place_shown,
    size_of,
    temporary_folder,
    without_secrets,
)
from gpuquant.locations.stores import support

__all__ = [
    "IN_MEMORY",
    "LocalCopy",
    "Location",
    "Place",
    "common_folder",
    "files_among",
    "for_each",
    "identity_of",
    "is_below",
    "is_inside",
    "is_there",
    "is_url",
    "joined",
    "make_folder",
    "place_of",
    "place_shown",
    "resolved",
    "size_of",
    "support",
    "temporary_folder",
    "way_to",
    "without_secrets",
]
