"""Run the command line by `python -m marrowscope`."""

from marrowscope.cli import app

app(prog_name="marrowscope")
