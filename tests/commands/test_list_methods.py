from captum_pairwise.commands.command_line import run_command
from captum_pairwise.testing.method_table import METHODS


def test_every_method_has_a_line(capsys):
    assert run_command(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for method in METHODS:
        assert any(method.name in line and f" {method.cls.__name__} " in line.replace("captum.attr.", " ") for line in lines)
    assert lines[0].split() == ["method", "class", "order", "players", "needs"]
