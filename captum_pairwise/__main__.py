"""`python -m captum_pairwise <command>`, the same as `captum-pairwise <command>`."""

import sys

from captum_pairwise.commands.command_line import run_program

if __name__ == "__main__":
    sys.exit(run_program())
