"""Tests of gpuquant/colors."""
