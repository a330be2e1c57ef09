"""Tests of gpuquant/estimator."""
