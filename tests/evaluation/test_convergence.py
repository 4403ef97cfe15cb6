from dataclasses import replace
from itertools import combinations
from math import comb, isnan

import formulas
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from captum_pairwise.commands import command_line as command
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.evaluation.convergence import random_games, report
from captum_pairwise.evaluation.convergence import study as convergence
from captum_pairwise.evaluation.convergence.savings import compute_saving
from captum_pairwise.evaluation.convergence.study import Row, Task
from captum_pairwise.evaluation.convergence.study_estimators import (
    OWN_ESTIMATORS,
    SHAPIQ_ESTIMATORS,
    StudyEstimator,
    find_shapiq_estimators,
)
from captum_pairwise.evaluation.rows import Journal

SMALL = {
    "network": random_games.network_game,
    "boolean": random_games.boolean_game,
    "towers": random_games.cosine_game,
    "opaque towers": lambda *sizes: random_games.cosine_game(*sizes).opaque(),
}
OTHERS = find_shapiq_estimators()[0]
ESTIMATORS = OWN_ESTIMATORS | {name: estimator for name, estimator in OTHERS.items() if not estimator.is_slow and "SVARMIQ" not in name}
ROW = Row("A", "all", "kernel, paper-direct", "made up", 500, 0, 500, 480, 1 / 3, 0.1, 0.25)


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_makes_one_game(name):
    tables = [SMALL[name](seed, 3, 2).tables for seed in (0, 0, 1)]
    assert_close(tables[0], tables[1], rtol=0, atol=0)
    assert not any(torch.allclose(first, second) for first, second in zip(tables[0], tables[2], strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_exact_indices_match_the_formula(name):
    game = SMALL[name](0, 3, 2)
    truth = formulas.taylor_pairs(game.build(hide_towers=True)[0])
    assert_close(exact(game.build()[0]).second_order[0], truth)
    judged = truth[:3, 3:].flatten() if name == "towers" else torch.stack([truth[pair] for pair in combinations(range(5), 2)])
    assert_close(game.judge_pairs(truth), judged)


def test_both_views_of_two_towers_have_the_same_values():
    game, z = random_games.cosine_game(0, 3, 2), all_coalitions(5)
    for view in (game.build(hide_towers=True)[0], game.build()[0], game.opaque().build()[0]):
        assert_close(view.values(z), game.values)


def test_the_boolean_game_sums_all_products_inside():
    coefficients = 10 * torch.rand(2**4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    game, members = random_games.boolean_game(3, 2, 2), all_coalitions(4)
    value = formulas.value_function(game.build()[0])
    for coalition in members:
        inside = (members <= coalition).all(1)
        assert value(coalition.nonzero()[:, 0].tolist()) == pytest.approx(coefficients[inside].sum().item())
    indices = exact(game.build()[0]).second_order[0]
    for i, j in combinations(range(4), 2):
        shares = [coefficients[k] / comb(int(row.sum()), 2) for k, row in enumerate(members) if row[i] and row[j]]
        assert indices[i, j].item() == pytest.approx(sum(shares).item())


def test_networks_have_glorots_weights():
    generator, bound = torch.Generator().manual_seed(0), (6 / 100) ** 0.5
    weight = random_games.relu_network([40, 60], 0.0, generator)(torch.eye(40, dtype=torch.float64))
    assert 0.99 * bound < weight.abs().max() <= bound and weight.mean().abs() < 4 * weight.std() / 2400**0.5
    deep = random_games.relu_network([5, 20, 20, 1], 0.0, generator)
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    assert_close(deep(2 * x), 2 * deep(x))  # rectified, without biases: homogeneous, and of 0 it is 0
    assert (deep(x) + deep(-x)).abs().min() > 1e-3  # but not linear


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("game", ["A", "B-towers"])
def test_estimators_keep_to_their_budget(name, game):
    estimator, budget = ESTIMATORS[name], 440
    if estimator.needs_towers and game == "A":
        assert not convergence.plan_tasks([game], {name: estimator}, None, None)
        return
    random_game = random_games.GAMES[game](0)
    truth = random_game.judge_pairs(exact(random_game.build()[0]).second_order[0])
    row = convergence.measure_task(random_game, truth, Task(game, name, budget, 0), estimator)
    assert 0 < row.passes <= budget and 0 < row.distinct <= row.passes
    assert row.passes > budget / 2 or row.estimator.endswith("permutations")  # whole permutations only
    assert row.pairs == ("between" if game == "B-towers" else "all")
    assert row.mse > 0 and row.relative_mse / row.mse == pytest.approx(1 / truth.square().mean().item())


@pytest.mark.parametrize("name", ["A", "B-towers"])
def test_errors_are_means_over_the_judged_pairs(name):
    game = random_games.GAMES[name](0)
    truth = exact(game.build()[0]).second_order[0]
    wrong = StudyEstimator(lambda view, budget, seed: truth + 0.1 * torch.ones_like(truth).triu(1), "made up")
    row = convergence.measure_task(game, game.judge_pairs(truth), Task(name, "wrong", 8, 0), wrong)
    assert row.mse == pytest.approx(0.01) and row.passes == 0


def test_an_opaque_estimator_pays_two_passes_for_an_evaluation():
    game = random_games.GAMES["B-towers"](0)
    seen = []

    def spy(view, budget, seed):
        seen.append(budget)
        view.values(all_coalitions(15)[:7])
        return torch.zeros(15, 15, dtype=torch.float64)

    truth = torch.ones(56, dtype=torch.float64)
    row = convergence.measure_task(game, truth, Task("B-towers", "spy", 100, 0), StudyEstimator(spy, "made up"))
    assert seen == [50] and row.passes == 2 * 7
    assert row.distinct == 7 + 1  # seven coalitions of the query, one of the retrieved image: the empty one


def test_draws_do_not_repeat_the_random_numbers_of_a_game():
    seeds, game = [], random_games.network_game(0, 3, 2)
    spy = StudyEstimator(lambda view, budget, seed: seeds.append(seed) or torch.zeros(5, 5, dtype=torch.float64), "made up")
    for seed in range(convergence.SEEDS):
        convergence.measure_task(game, game.judge_pairs(torch.ones(5, 5)), Task("A", "spy", 100, seed), spy)
    assert len(set(seeds)) == convergence.SEEDS and not set(seeds) & set(range(convergence.SEEDS))


def test_slow_estimators_and_large_games_run_on_fewer_seeds():
    fast, late = (StudyEstimator(lambda *_: torch.zeros(15, 15), "made up", is_slow=is_slow) for is_slow in (False, True))
    tasks = convergence.plan_tasks(["A", "C"], {"fast": fast, "late": late}, [500, 1000], None)
    seeds = {(game, name): {task.seed for task in tasks if task[:2] == (game, name)} for game in "AC" for name in ("fast", "late")}
    assert {key: len(some) for key, some in seeds.items()} == {("A", "fast"): 8, ("A", "late"): 2, ("C", "fast"): 4, ("C", "late"): 2}
    assert len(tasks) == 2 * 16 and len(set(tasks)) == len(tasks)


def test_a_refused_budget_is_a_row_of_nan(tmp_path, capsys):
    assert _run(tmp_path, "--games", "A", "--estimators", "kernel", "--budgets", "60", "600", "--seeds", "1") == 0
    rows = Journal(tmp_path / "convergence.csv", Row).rows
    assert [isnan(row.mse) for row in rows] == [True, False] and rows[0].passes == 0
    printed = capsys.readouterr()
    assert "kernel on A at 60: Expected" in printed.out + printed.err and "| kernel | – |" in printed.out


def _run(folder, *arguments):
    return command.run_command(["convergence", "--out", str(folder), *arguments])


def test_a_quick_run_writes_its_rows_and_its_picture(tmp_path, capsys):
    assert _run(tmp_path, "--quick", "--estimators", "kernel", "kernel, paper-direct", "permutations", "factorised") == 0
    rows = Journal(tmp_path / "convergence.csv", Row).rows
    assert {row.game for row in rows} == {"A", "B-towers", "D"} and len(rows) == (3 * 3 + 1) * 2 * 2
    with Image.open(tmp_path / "convergence.png") as picture:
        assert min(picture.size) > 300 and len(picture.convert("RGB").getcolors(1 << 24)) > 100
    printed = capsys.readouterr().out
    picture = tmp_path / "convergence.png"
    picture.unlink()
    assert _run(tmp_path, "--report") == 0 and capsys.readouterr().out.strip() == printed[printed.index("**A") :].strip()
    assert picture.exists() and len(Journal(tmp_path / "convergence.csv", Row).rows) == len(rows)
    assert "ten times fewer" in printed and "| A | kernel | permutations |" in printed and "| factorised |" in printed


def test_a_second_study_computes_only_new_tasks(tmp_path, monkeypatch):
    measured = []
    real = convergence.measure_task
    monkeypatch.setattr(convergence, "measure_task", lambda *arguments: measured.append(arguments[2]) or real(*arguments))
    arguments = ("--games", "A", "--estimators", "permutations", "--budgets", "200", "300", "--seeds")
    _run(tmp_path, *arguments, "1")
    before = (tmp_path / "convergence.csv").read_bytes()
    _run(tmp_path, *arguments, "1")
    assert (tmp_path / "convergence.csv").read_bytes() == before and len(measured) == 2
    _run(tmp_path, *arguments, "2")
    assert measured[2:] == [Task("A", "permutations", budget, 1) for budget in (200, 300)]


def test_an_interrupted_study_keeps_its_rows(tmp_path, monkeypatch, capsys):
    real, calls = convergence.measure_task, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(convergence, "measure_task", interrupt)
    arguments = ("--games", "A", "--estimators", "permutations", "--budgets", "200", "300", "--seeds", "2")
    assert _run(tmp_path, *arguments) == command.INTERRUPTED
    assert capsys.readouterr().err.endswith("interrupted.\n")
    assert len(Journal(tmp_path / "convergence.csv", Row).rows) == 2
    assert _run(tmp_path, *arguments) == 0
    tasks = [row.task for row in Journal(tmp_path / "convergence.csv", Row).rows]
    assert len(tasks) == len(set(tasks)) == 4


def test_rows_are_read_as_they_were_written(tmp_path):
    journal = Journal(tmp_path / "new" / "rows.csv", Row)
    rows = [ROW, replace(ROW, seed=1, mse=float("inf")), replace(ROW, seed=2, estimator='a "quoted", name')]
    for row in rows:
        journal.append(row)
    assert Journal(journal.path, Row).rows == rows == journal.rows


@pytest.mark.parametrize("lost", [1, 10])
def test_only_an_incomplete_last_line_is_dropped(tmp_path, lost):
    journal = Journal(tmp_path / "rows.csv", Row)
    for seed in range(3):
        journal.append(replace(ROW, seed=seed))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-lost])
    again = Journal(journal.path, Row)
    assert [row.seed for row in again.rows] == [0, 1]
    again.append(replace(ROW, seed=2))
    assert journal.path.read_bytes() == whole


def test_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "convergence.csv").write_text("a,b\n1,2\n")
    assert _run(tmp_path, "--quick", "--estimators", "kernel") == command.WRONG_INPUT
    assert (tmp_path / "convergence.csv").read_text() == "a,b\n1,2\n"


def test_unknown_estimators_are_refused(tmp_path, capsys):
    assert _run(tmp_path, "--estimators", "colonel") == command.WRONG_INPUT
    assert "'colonel'" in capsys.readouterr().err


def power_law(scale, costs, exponent=1.0):
    return [(cost, (scale / cost) ** exponent) for cost in costs]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_savings_on_power_laws_are_ratios_of_scales(exponent):
    slower = power_law(7.0, [500.0, 900.0, 4000.0], exponent)
    assert compute_saving(power_law(1.0, [100.0, 250.0, 500.0], exponent), slower).factor == pytest.approx(7)
    assert compute_saving(slower, power_law(1.0, [100.0, 250.0, 500.0], exponent)).factor == pytest.approx(1 / 7)


def test_savings_average_over_the_errors_that_both_reach():
    flat = [(10.0, 1.0), (1000.0, 0.01)]
    steep = [(10.0, 1.0), (100.0, 0.01)]  # as good at first, ten times cheaper at last: √10 on average
    assert compute_saving(steep, flat).factor == pytest.approx(10**0.5)
    assert compute_saving([*steep, (200.0, 0.5)], flat).factor == pytest.approx(10**0.5)  # a worse error later on loses nothing
    assert compute_saving([*steep, (200.0, float("nan"))], flat).factor == pytest.approx(10**0.5)


def test_savings_without_a_common_error_are_bounds():
    good, bad = power_law(0.01, [100.0, 200.0]), power_law(1.0, [100.0, 400.0])
    assert str(compute_saving(good, bad)) == "> 4×" and str(compute_saving(bad, good)) == "< 0.25×"
    assert str(compute_saving(power_law(0.01, [500.0]), bad)) == "?"  # it had more, and was better
    with pytest.raises(ValueError, match="positive finite error"):
        compute_saving([(1.0, float("nan"))], good)


def test_the_report_computes_the_savings_from_the_rows():
    budgets = (500, 1000, 2000, 4000)
    kernel = [replace(ROW, budget=b, distinct=b // 2, relative_mse=100 / b, seed=s) for b in budgets for s in (0, 1)]
    sampler = [replace(row, estimator="permutations", distinct=row.budget, relative_mse=4 * row.relative_mse) for row in kernel]
    assert "| A | kernel, paper-direct | permutations | 4× | 8× |" in report.format_savings([*kernel, *sampler])
    assert "needs the kernel" in report.format_savings(kernel)
    table = report.format_errors([*kernel, *(row for row in sampler if row.seed == 0)])
    assert "| kernel, paper-direct | 2.0e-1 | 1.0e-1 | 5.0e-2 | 2.5e-2 | 2000 | 0.25 |" in table
    assert "| permutations (seeds: 1) | 8.0e-1 |" in table


def test_each_estimator_of_shapiq_is_installed_or_reported_missing():
    installed, missing = find_shapiq_estimators()
    assert set(installed) <= set(SHAPIQ_ESTIMATORS)
    assert len(installed) + len(missing) == len(SHAPIQ_ESTIMATORS) or (not installed and len(missing) == 1)
