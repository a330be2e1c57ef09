"""Entries mixed, so that neighboring pixels average to the photo."""
