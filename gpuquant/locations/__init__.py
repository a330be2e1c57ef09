"""Places of files: paths, and URLs that fsspec knows."""

from gpuquant.locations.copies import IN_MEMORY, LocalCopy
from gpuquant.locations.folders import check_folder, common_folder, is_inside, make_folder, resolved, way_to
from gpuquant.locations.looking import check_file, holds, is_there, looked_into, size_of
from gpuquant.locations.many import files_among, for_each
from gpuquant.locations.places import Location, Place, identity_of, is_below, joined
from gpuquant.locations.stores import support
from gpuquant.locations.trees import Tree, tree_of
from gpuquant.locations.urls import is_url, place_of, place_shown, temporary_folder, without_secrets

__all__ = [
    "IN_MEMORY",
    "LocalCopy",
    "Location",
    "Place",
    "Tree",
    "check_file",
    "check_folder",
    "common_folder",
    "files_among",
    "for_each",
    "holds",
    "identity_of",
    "is_below",
    "is_inside",
    "is_there",
    "is_url",
    "joined",
    "looked_into",
    "make_folder",
    "place_of",
    "place_shown",
    "resolved",
    "size_of",
    "support",
    "temporary_folder",
    "tree_of",
    "way_to",
    "without_secrets",
]
