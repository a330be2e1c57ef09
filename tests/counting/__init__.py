"""Tests of gpuquant/counting."""
