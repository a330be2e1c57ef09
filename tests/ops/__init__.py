"""Tests of gpuquant/ops."""
