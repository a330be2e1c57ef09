"""Tests of gpuquant/ops/pixels."""
