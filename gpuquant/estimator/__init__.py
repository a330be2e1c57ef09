"""scikit-learn's face: KMeans, with its draws and its rounding."""
