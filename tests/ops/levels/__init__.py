"""Tests of gpuquant/ops/levels."""
