"""Counting pixels and looking them up."""
