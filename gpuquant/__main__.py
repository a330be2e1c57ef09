"""Run the command line with `python -m gpuquant`."""

from gpuquant.cli.app import program

program()
