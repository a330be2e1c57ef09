"""Tests of gpuquant/report."""
