"""A named step on items, in the workers of a Ray cluster."""
