"""The recipes: quantize(), extract_palette(), apply_palette()."""
