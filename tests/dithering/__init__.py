"""Tests of gpuquant/dithering."""
