"""Palettes, and their files."""
