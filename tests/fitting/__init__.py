"""Tests of gpuquant/fitting."""
