"""Tests of gpuquant/quantization."""
