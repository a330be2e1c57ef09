"""Many files: quantize_files()."""
