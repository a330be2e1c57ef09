"""From counted colors to a palette."""
