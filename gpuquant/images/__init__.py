"""Pictures in files and in memory: the only room that decodes and encodes them."""
