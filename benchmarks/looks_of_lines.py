"""The color and the mark of each quantizer in every plot: a color for a program, a mark for what it is asked."""

MOST_ERROR = 2.1  # times the lowest, up to which errors by size are shown: the others have 2.4 to 9 times as much
OURS = "#e8590c"
SKLEARN, INTELEX, FAISS, OPENCV, TORCH = "#2f81f7", "#1098ad", "#9c5fd6", "#a0683a", "#8b949e"
PNGQUANT, FFMPEG, GDAL, PILLOW, FLASH = "#2da44e", "#d6549c", "#8a8f1c", "#bf8700", "#6e7781"
LOOKS = (  # the first that a name starts with, without what says the device
    ("gpuquant, effort=fast", OURS, "v"),
    ("gpuquant, effort=best", OURS, "^"),
    ("gpuquant.kmeans, in turn", OURS, "D"),
    ("gpuquant", OURS, "o"),
    ("scikit-learn-intelex", INTELEX, "s"),
    ("scikit-learn MiniBatchKMeans", SKLEARN, "D"),
    ("scikit-learn, fit", SKLEARN, "P"),
    ("scikit-learn", SKLEARN, "s"),
    ("faiss Kmeans, all points", FAISS, "h"),
    ("faiss", FAISS, "X"),
    ("OpenCV", OPENCV, "p"),
    ("torch", TORCH, "s"),
    ("flash-kmeans", FLASH, "D"),
    ("pngquant", PNGQUANT, "d"),
    ("ffmpeg", FFMPEG, "*"),
    ("GDAL", GDAL, "8"),
    ("Pillow MEDIANCUT", PILLOW, "<"),
    ("Pillow MAXCOVERAGE", PILLOW, "X"),
    ("Pillow FASTOCTREE", PILLOW, ">"),
)


def look(name: str) -> tuple[str, str]:
    """The color and the marker of a quantizer."""
    return next((color, marker) for start, color, marker in LOOKS if name.startswith(start))


def place(name: str) -> tuple[int, str]:
    """The place of a quantizer in every legend: by its program, then by its name."""
    return [color for _, color, _ in LOOKS].index(look(name)[0]), name
