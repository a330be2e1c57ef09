"""Run the command line with `python -m gpuquant`."""

from gpuquant.cli import main

main()
