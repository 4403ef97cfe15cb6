"""`captum-pairwise <command>`: the list of commands, their exit status, and errors in one sentence.

The modules of a command are imported when it runs, so that `captum-pairwise --help` loads no PyTorch.
"""

import argparse
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from textwrap import fill
from typing import NamedTuple, NoReturn, final

PROGRAM = "captum-pairwise"
SETTINGS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "GRADIO_ANALYTICS_ENABLED": "False"}  # of other libraries, unless the user has set them
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
EXIT_STATUS = "0 done; 1 a check or a run failed, or an unexpected error; 2 wrong input; 130 interrupted"
WIDTH = 100  # characters of a line of help


class Command(NamedTuple):
    """A command.

    Attributes:
        purpose: what it does, in half a sentence.
        example: the words after `captum-pairwise`.
        module: where it is.
        function: the function of the module that adds its options.
    """

    purpose: str
    example: str
    module: str
    function: str


COMMANDS = {
    "explain": Command(
        "show why two photos, or two sentences, are similar", "explain A.jpg B.jpg", "commands.explain_pair", "add_explain_options"
    ),
    "search": Command(
        "find the photos of a folder that are most similar to a photo, and show why",
        "search photo.jpg holiday_photos --top 5",
        "commands.search_folder",
        "add_search_options",
    ),
    "audit": Command(
        "find out what a search looks at, over thousands of pairs, and what happens without it",
        "audit holiday_photos --top 5 --out audit",
        "commands.audit_pairs",
        "add_audit_options",
    ),
    "app": Command("open a web page to try it on your own photos and sentences", "app", "commands.web_app", "add_app_options"),
    "check": Command(
        "check that an encoder of yours is safe to explain",
        "check my_module:make_encoder --layer layer4",
        "commands.check_encoder",
        "add_check_options",
    ),
    "methods": Command("list all methods", "methods", "commands.list_methods", "add_methods_options"),
    "tables": Command(
        "compare all methods of the paper, on your model and pairs of images",
        "tables --preset quick --out results",
        "evaluation.tables.command",
        "add_tables_options",
    ),
    "convergence": Command(
        "compare estimators on random games",
        "convergence --quick --out convergence",
        "evaluation.convergence.command",
        "add_convergence_options",
    ),
}


def run_program() -> int:
    """Run the command line of this process; returns the exit status."""
    status = run_command()
    gc.freeze()  # the last collection would walk through all modules of PyTorch: 0.4 s
    return status


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status.

    Args:
        arguments: the words after `captum-pairwise`; None takes those of this process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    format_warning, warnings.formatwarning = warnings.formatwarning, _format_warning
    try:
        return _run_words(words)
    except SystemExit as end:  # argparse ends after an error, and after help
        return _take_status(end.code)
    except BrokenPipeError:  # as of `captum-pairwise methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if "--debug" in words:
            raise
        print(f"{PROGRAM}: error: {_describe_error(error)}", file=sys.stderr)
        return WRONG_INPUT if isinstance(error, (ValueError, ImportError, OSError)) else FAILED
    finally:
        warnings.formatwarning = format_warning


def _take_status(code: object) -> int:
    """The exit status of a `SystemExit`; a text, as of `sys.exit("no weights")`, is printed as Python does, and is a failure."""
    if code is None or isinstance(code, int):
        return int(code or DONE)
    print(code, file=sys.stderr)
    return FAILED


def _run_words(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that cannot show ±
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if "" not in sys.path:
        sys.path.append("")  # `module:function` may be a file in the current folder, as with `python -m`
    options = build_command_parser(words[0] if words else "").parse_args(words)
    return options.run(options)


@final
class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """End the process with the exit status of a wrong input."""
        self.exit(WRONG_INPUT, f"{PROGRAM}: error: {message.rstrip('.')}. See {self.prog} --help.\n")


def build_command_parser(chosen: str) -> CommandParser:
    """The parser of all commands; only the chosen command has its options."""
    parser = CommandParser(PROGRAM, description="Why are two photos, or two sentences, similar?")
    parser.epilog = f"{PROGRAM} explain --help explains a command."
    _format_help(parser, COMMANDS["explain"].example)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.purpose, description=f"{command.purpose.capitalize()}.")
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == chosen:
            getattr(import_module(f"captum_pairwise.{command.module}"), command.function)(subparser)
            _format_help(subparser, command.example)
    return parser


def _format_help(parser: argparse.ArgumentParser, example: str) -> None:
    """Wrap the lines of a parser's help, and end it with an example and the exit status."""
    parser.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=WIDTH)
    parser.description = fill(parser.description or "", WIDTH)
    paragraphs = [parser.epilog, f"example: {PROGRAM} {example}", f"exit status: {EXIT_STATUS}"]
    parser.epilog = "\n".join(fill(paragraph, WIDTH) for paragraph in paragraphs if paragraph)


def _describe_error(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    message = " ".join(str(error).split())
    if isinstance(error, (ValueError, ImportError, OSError)):
        return message
    return f"{type(error).__name__}: {message}".rstrip(": .") + ". Add --debug to see where."


def _format_warning(message: Warning | str, *_: object) -> str:
    return f"{PROGRAM}: warning: {' '.join(str(message).split())}\n"
