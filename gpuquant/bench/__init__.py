"""gpuquant beside other quantizers."""
