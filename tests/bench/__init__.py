"""Tests of gpuquant/bench."""
