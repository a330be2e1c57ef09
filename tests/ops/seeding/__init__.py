"""Tests of gpuquant/ops/seeding."""
