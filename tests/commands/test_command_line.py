"""The console command: help, exit status, and errors in one sentence."""

import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

from captum_pairwise.commands import command_line
from captum_pairwise.commands.command_line import COMMANDS, FAILED, INTERRUPTED, WRONG_INPUT, Command, run_command

REPOSITORY = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "captum_pairwise"]


@pytest.fixture
def command(monkeypatch):
    """Let the command `explain` call this function."""

    def replace(run):
        monkeypatch.setitem(COMMANDS, "explain", Command("explain", "explain", "commands.replaced", "add_options"))
        module = type(sys)("captum_pairwise.commands.replaced")
        module.add_options = lambda parser: parser.set_defaults(run=run)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return replace


def raise_error(error):
    def run(options):
        raise error

    return run


def test_help_lists_all_commands_and_loads_no_pytorch():
    program = "import sys; from captum_pairwise.commands.command_line import run_command; code = run_command(['--help'])"
    run = subprocess.run([sys.executable, "-c", f"{program}; sys.exit(code or 'torch' in sys.modules)"], capture_output=True, text=True)
    assert run.returncode == 0 and all(name in run.stdout for name in COMMANDS) and "exit status: 0 done" in run.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert run_command([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"example: captum-pairwise {name}" in printed and "exit status:" in printed and "--debug" in printed
    assert max(map(len, printed.splitlines())) <= command_line.WIDTH


def list_commands_of_pages():
    """The words of each command in the shell blocks of the pages, with the page's name."""
    for page in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "tutorials").rglob("*.md"))):
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if any(word.endswith("captum-pairwise") for word in words):
                    start = next(place for place, word in enumerate(words) if word.endswith("captum-pairwise"))
                    yield words[start + 1 :]


@pytest.mark.parametrize("words", list(list_commands_of_pages()), ids=" ".join)
def test_the_commands_of_the_pages_can_be_parsed(words):
    command_line.build_command_parser(words[0]).parse_args(words)


@pytest.mark.parametrize("words", [[], ["explayn"], ["methods", "--loud"], ["check"]], ids=" ".join)
def test_wrong_words_are_refused_in_one_line(words, capsys):
    assert run_command(words) == WRONG_INPUT
    error = capsys.readouterr().err
    assert error.startswith("captum-pairwise: error: ") and error.count("\n") == 1 and "--help." in error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("Expected a photo,\n got none. Pass one."), WRONG_INPUT, "Expected a photo, got none. Pass one."),
        (FileNotFoundError(2, "No such file", "a.jpg"), WRONG_INPUT, "No such file: a.jpg"),
        (ImportError("Expected the package faiss."), WRONG_INPUT, "Expected the package faiss."),
        (RuntimeError("no memory"), FAILED, "RuntimeError: no memory. Add --debug to see where."),
        (RuntimeError("no memory."), FAILED, "RuntimeError: no memory. Add --debug to see where."),
        (RuntimeError(), FAILED, "RuntimeError. Add --debug to see where."),
    ],
    ids=["value", "file", "package", "unexpected", "full stop", "empty"],
)
def test_errors_are_one_line_without_a_traceback(command, capsys, error, code, message):
    command(raise_error(error))
    assert run_command(["explain"]) == code
    assert capsys.readouterr().err == f"captum-pairwise: error: {message}\n"


@pytest.mark.parametrize(
    ("status", "code", "message"), [(None, 0, ""), (3, 3, ""), ("no weights", FAILED, "no weights\n")], ids=["none", "number", "text"]
)
def test_code_of_the_user_may_end_the_command(command, capsys, status, code, message):
    command(raise_error(SystemExit(status)))
    assert run_command(["explain"]) == code
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback(command):
    command(raise_error(ValueError("where?")))
    with pytest.raises(ValueError, match=r"where\?"):
        run_command(["explain", "--debug"])


def test_an_interruption_is_one_line(command, capsys):
    command(raise_error(KeyboardInterrupt()))
    assert run_command(["explain"]) == INTERRUPTED
    assert capsys.readouterr().err == "\ncaptum-pairwise: interrupted.\n"


def test_a_warning_is_one_line(command, capsys):
    def warn(_):
        warnings.warn("resnet50 has\nrandom weights.", stacklevel=1)
        return 0

    command(warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *details: sys.stderr.write(warnings.formatwarning(*details[:4]))
        assert run_command(["explain"]) == 0
    assert capsys.readouterr().err == "captum-pairwise: warning: resnet50 has random weights.\n"


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_a_process_in_one_line(tmp_path):
    arguments = ["convergence", "--out", str(tmp_path), "--games", "A", "--budgets", "300", "--seeds", "500"]
    heeds_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*PROGRAM, *arguments], **pipes, preexec_fn=heeds_ctrl_c) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()  # the command runs
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == INTERRUPTED and error.strip() == "captum-pairwise: interrupted."


def test_a_closed_pipe_is_no_error():
    with subprocess.Popen([*PROGRAM, "methods"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
