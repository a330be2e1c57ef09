"""k-means on any points."""
