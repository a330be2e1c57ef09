"""Tests of gpuquant/locations."""
