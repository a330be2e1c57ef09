"""Steps of Lloyd's algorithm."""
