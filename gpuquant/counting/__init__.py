"""From pixels to distinct colors with their counts, and back to labels."""
