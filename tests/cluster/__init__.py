"""Tests of gpuquant/cluster."""
