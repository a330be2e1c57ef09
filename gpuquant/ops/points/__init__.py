"""Points that k-means sees: 8-bit colors in blocks and cells, or floating-point points."""
