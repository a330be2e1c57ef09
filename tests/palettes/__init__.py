"""Tests of gpuquant/palettes."""
