"""Tests of gpuquant/clustering."""
