"""Tests of gpuquant/images."""
