"""Tests that start processes, which take longest: they begin first."""
