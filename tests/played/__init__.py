"""A CUDA device that is not there: launches run as on one, and what they compute is computed on the CPU."""
