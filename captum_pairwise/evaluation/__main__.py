"""`python -m captum_pairwise.evaluation <study>`: each writes its rows as they come, and goes on where it was interrupted."""

import argparse
import io
import sys
from collections.abc import Sequence

from captum_pairwise.evaluation.convergence import command as convergence_command
from captum_pairwise.evaluation.tables import command as tables_command

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the exit status."""
    line = argparse.ArgumentParser(prog="python -m captum_pairwise.evaluation", description=__doc__)
    studies = line.add_subparsers(dest="study", required=True)
    convergence_command.add_to(studies)
    tables_command.add_to(studies)
    options = line.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ± is no reason to fail
    try:
        return options.run(options)
    except (ValueError, ImportError, OSError) as error:
        line.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the rows that are written.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
