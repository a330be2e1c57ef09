"""Tests of gpuquant/batch."""
