"""Tests of gpuquant/ops/dithering."""
