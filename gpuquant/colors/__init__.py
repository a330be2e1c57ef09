"""What a color is: codes, names, spaces, errors. It knows no photo, no file and no k-means."""
