"""The recipes: quantize(), quantize_file(), extract_palette(), apply_palette()."""
