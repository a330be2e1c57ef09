"""Tests of gpuquant/ops/lloyd."""
