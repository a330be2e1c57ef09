"""Colors by themselves: codes, names, spaces, errors. Nothing here is about photos, files or k-means."""
