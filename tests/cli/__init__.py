"""Tests of gpuquant/cli."""
