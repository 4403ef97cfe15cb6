"""`python -m captum_pairwise.evaluation <study>`: each study writes its rows at once and continues after an interruption."""

import argparse
import io
import sys
from collections.abc import Sequence

from captum_pairwise.evaluation.convergence.command import add_convergence_command
from captum_pairwise.evaluation.tables.command import add_tables_command

INTERRUPTED = 130


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one study; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m captum_pairwise.evaluation", description=__doc__)
    studies = parser.add_subparsers(dest="study", required=True)
    add_convergence_command(studies)
    add_tables_command(studies)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that cannot show ±
    try:
        return options.run(options)
    except (ValueError, ImportError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command continues after the last row.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(run_command())
