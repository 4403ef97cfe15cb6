"""The command of the tables: its files, what it computes again, and how it fails."""

import csv
from dataclasses import replace
from itertools import chain
from math import isnan, nan

import pytest
import torch
from PIL import Image
from table_cases import ROW, SETTINGS, SMALL, command_line, make_model, read_all_rows, read_results, remove_time, with_head, write_cases

from captum_pairwise.commands import command_line as command
from captum_pairwise.datasets.pair_list import read_pairs, write_pairs
from captum_pairwise.evaluation.tables import command as tables_command
from captum_pairwise.evaluation.tables import study
from captum_pairwise.evaluation.tables.image_pair import Model
from captum_pairwise.evaluation.tables.processes import Ranks, read_ranks
from captum_pairwise.evaluation.tables.study import Run
from captum_pairwise.evaluation.tables.table_methods import AGNOSTIC, TABLE_METHODS

pytest.importorskip("sklearn", reason="LIME is among the methods: pip install 'captum-pairwise[lime]'")
METHODS = list(TABLE_METHODS)


@pytest.fixture
def calls(monkeypatch):
    """The runs that are computed."""
    runs, real = [], study.measure_run
    monkeypatch.setattr(study, "measure_run", lambda run, *more: runs.append(run) or real(run, *more))
    return runs


def test_a_run_writes_rows_tables_and_a_picture(tmp_path, capsys):
    assert command.run_command(command_line(tmp_path, "--limit", "1", methods=["all"])) == 0
    printed, out = capsys.readouterr().out, tmp_path / "out"
    rows = read_results(out)
    assert len(rows) == len(METHODS) and not any(row.error for row in rows)
    assert [row.method for row in rows] == METHODS
    table = (out / "table.md").read_text()
    assert table in printed and "1 pair of images, preset quick" in table
    assert r"\begin{tabular}" in (out / "table.tex").read_text()
    with Image.open(out / "table.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 100
    for row in rows:
        assert row.query.startswith("query, ") and row.category == "square" and row.seconds > 0
        assert (row.passes > 0) == (TABLE_METHODS[row.method].family == AGNOSTIC)
    with (out / "results.csv").open(newline="") as file:  # a plain table
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:12] == [*Run.__dataclass_fields__]
    assert float(lines[0]["faithfulness"]) == rows[0].faithfulness


def test_a_second_run_computes_only_new_runs(tmp_path, calls):
    command.run_command(command_line(tmp_path, "--limit", "2"))
    assert len(calls) == 2 * 3
    command.run_command(command_line(tmp_path, "--limit", "2"))
    assert len(calls) == 6
    command.run_command(command_line(tmp_path, methods=["gcam", "sam"]))
    assert [(run.query[7:8], run.method) for run in calls[6:]] == [("0", "gcam"), ("1", "gcam"), ("2", "gcam"), ("2", "sam")]
    command.run_command([*command_line(tmp_path, methods=["sam"]), "--seed", "1"])  # other weights, other draws
    assert len(calls) == 6 + 4 + 3 and len(read_results(tmp_path / "out")) == 3
    command.run_command([*command_line(tmp_path, methods=["sam"]), "--set", "window=9"])  # the other settings stay
    assert len(calls) == 6 + 4 + 3 + 3 and "window=8" in (tmp_path / "out" / "table.md").read_text()


def test_masks_that_are_added_later_are_used(tmp_path):
    file, arguments = write_cases(tmp_path, 2), command_line(tmp_path, methods=["sam"])
    with_masks = file.read_text()
    write_pairs([replace(pair, query_mask=None, retrieved_mask=None) for pair in read_pairs(file)], file)
    assert command.run_command(arguments) == 0 and isnan(read_results(tmp_path / "out")[0].mean_iou)
    file.write_text(with_masks)
    assert command.run_command(arguments) == 0 and not isnan(read_results(tmp_path / "out")[0].mean_iou)


@pytest.mark.slow
def test_results_do_not_depend_on_earlier_runs(tmp_path):
    command.run_command(command_line(tmp_path, methods=["all"]))
    for name in ("kshap", "ksam", "factorised"):
        command.run_command(command_line(tmp_path, methods=[name], out=tmp_path / name))
        alone = [remove_time(row) for row in read_results(tmp_path / name)]
        assert alone == [remove_time(row) for row in read_results(tmp_path / "out") if row.method == name]


def test_a_pair_that_fails_is_a_row_with_an_error(tmp_path, capsys):
    arguments, out = command_line(tmp_path), tmp_path / "out"
    photo = tmp_path / "retrieved, 1.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:100])
    assert command.run_command(arguments) == 1
    printed = capsys.readouterr()
    rows = read_results(out)
    assert [bool(row.error) for row in rows] == [False] * 3 + [True] * 3 + [False] * 3
    assert all("retrieved, 1.png to be an image" in row.error for row in rows[3:6])
    assert "3 of 9 runs failed" in printed.out and "retrieved, 1.png" in printed.out
    photo.write_bytes(whole)
    assert command.run_command(arguments) == 1 and len(read_all_rows(out)) == 9  # a failed run is not repeated
    assert command.run_command([*arguments, "--retry"]) == 0 and len(read_all_rows(out)) == 12
    assert "failed" not in (out / "table.md").read_text()


def test_a_method_that_fails_is_a_row_with_an_error(tmp_path):
    arguments = [*command_line(tmp_path, methods=["kshap", "sam"]), "--set", *SMALL, "first=3", "n_segments=9"]
    assert command.run_command(arguments) == 1
    rows = read_results(tmp_path / "out")
    assert {row.method for row in rows if row.error} == {"kshap"} and "n_samples" in rows[0].error and "\n" not in rows[0].error


def test_an_interrupted_run_can_be_continued(tmp_path, monkeypatch, capsys):
    real, calls = study.measure_run, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(study, "measure_run", interrupt)
    assert command.run_command(command_line(tmp_path)) == command.INTERRUPTED
    assert capsys.readouterr().err.endswith("interrupted.\n") and len(read_all_rows(tmp_path / "out")) == 4
    assert command.run_command(command_line(tmp_path)) == 0 and len(read_all_rows(tmp_path / "out")) == 9


def test_two_commands_do_not_write_to_one_file(tmp_path, capsys):
    with study.exclusive_lock(tmp_path / "out" / "rows" / "rank-0.csv"):
        assert command.run_command(command_line(tmp_path)) == command.WRONG_INPUT
    assert "another process" in capsys.readouterr().err
    assert command.run_command(command_line(tmp_path)) == 0


def test_shares_are_even_and_complete(monkeypatch):
    shares = [list(range(10))[Ranks(rank, 3).share] for rank in range(3)]
    assert sorted(chain(*shares)) == list(range(10)) and max(map(len, shares)) - min(map(len, shares)) == 1
    assert read_ranks() == Ranks() and read_ranks().is_first
    for name, value in (("RANK", "2"), ("WORLD_SIZE", "4"), ("TORCHELASTIC_RESTART_COUNT", "1")):
        monkeypatch.setenv(name, value)
    assert read_ranks() == Ranks(2, 4, is_restarted=True)


def fail_with(monkeypatch, error):
    """Let SAM raise this error."""

    def fail(_):
        raise error

    monkeypatch.setitem(TABLE_METHODS, "sam", replace(TABLE_METHODS["sam"], first=fail))


def test_exhausted_memory_stops_the_process(tmp_path, monkeypatch):
    fail_with(monkeypatch, MemoryError())
    assert command.run_command(command_line(tmp_path, methods=["sam"])) == command.FAILED
    assert not read_all_rows(tmp_path / "out")


def test_a_long_error_is_shortened(tmp_path, monkeypatch):
    fail_with(monkeypatch, RuntimeError("é\n\udcff\x1b" * 200_000))  # the bytes of a file may be in its error
    assert command.run_command(command_line(tmp_path, methods=["sam"])) == 1
    assert command.run_command(command_line(tmp_path, methods=["sam"])) == 1  # the rows can be read again
    rows = read_all_rows(tmp_path / "out")
    assert all(len(row.error) <= 500 and row.error.isprintable() for row in rows) and len(rows) == 3


def test_random_weights_depend_on_the_seed_alone():
    digests = [tables_command._make_model("tiny=table_cases:encoder", seed, torch.device("cpu")).weights for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_the_settings_of_a_run_know_the_seed_and_the_kind_of_device():
    cases = [(SETTINGS, 0, "cpu"), (SETTINGS, 1, "cpu"), (replace(SETTINGS, first=7), 0, "cpu"), (SETTINGS, 0, "cuda")]
    digests = [study.settings_digest(settings, seed, torch.device(device)) for settings, seed, device in cases]
    assert len(set(digests)) == 4 and study.settings_digest(SETTINGS, 0, torch.device("cuda:1")) == digests[3]


@pytest.mark.parametrize(("restarts", "retries"), [("0", True), ("1", False)])
def test_failed_runs_are_not_repeated_after_each_restart(tmp_path, monkeypatch, restarts, retries):
    seen = []
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
    monkeypatch.setattr(study, "run_jobs", lambda *given: seen.append(given[-1]))
    monkeypatch.setattr(study, "wait_for_rows", lambda *given: [])
    monkeypatch.setattr(tables_command, "_write_tables", lambda *given: None)
    command.run_command([*command_line(tmp_path), "--retry"])
    assert seen == [retries]


def test_the_draws_of_a_run_depend_on_the_seed_and_on_what_it_explains():
    def draw(run, seed=0):
        return torch.rand(4, generator=study._seed_generator(run, seed)).tolist()

    run = ROW.key
    assert draw(run) == draw(replace(run, model="other", weights="other", settings="other", query_mask="", retrieved_mask=""))
    others = [replace(run, **{name: "other"}) for name in ("method", "query", "retrieved", "category", "label")]
    assert len({tuple(numbers) for numbers in (draw(run), draw(run, seed=1), *map(draw, others))}) == 7


def test_a_row_with_numbers_replaces_a_row_with_an_error():
    failed = replace(ROW, error="no", faithfulness=nan)
    assert list(study.merge_rows([failed, ROW, replace(ROW, faithfulness=0.5)]).values()) == [ROW]
    assert study.merge_rows([failed]) == {ROW.key: failed}


def test_ambiguous_plans_are_refused(tmp_path):
    pairs, model = read_pairs(write_cases(tmp_path, 1)), make_model()
    for some_pairs, models, message in (
        (pairs * 2, [model], "every pair once"),
        (pairs, [model, Model("tiny", make_model(with_head).encoder)], "every backbone .* once"),
        ([replace(pairs[0], category="a\nb")], [model], "line breaks"),
    ):
        with pytest.raises(ValueError, match=message):
            study.plan_jobs(some_pairs, tmp_path, models, ["sam"], "s")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "colonel"], "'colonel'"),
        (["--set", "windows=3"], "'windows=3'"),
        (["--set", "window=x"], "'window=x'"),
        (["--backbones", "resnet51"], "resnet51"),
        (["--backbones", "mine=table_cases:nobody"], "nobody"),
        (["--pairs", "nowhere.csv"], "nowhere.csv"),
        (["--limit", "-1"], "--limit"),
        (["--device", "gpu"], "'gpu'"),
        (["--set", "window=0"], "window of at least 1"),
        (["--set", "sampling=foo"], "'foo'"),
        (["--pairs", "."], "directory"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, arguments, message):
    assert command.run_command([*command_line(tmp_path), *arguments]) == command.WRONG_INPUT
    assert message in capsys.readouterr().err
