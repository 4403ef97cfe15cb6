import csv
from dataclasses import replace
from itertools import chain
from math import isnan, nan
from pathlib import Path

import pytest
import table_cases
import torch
from PIL import Image
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import metrics
from captum_pairwise.datasets.pair_list import read_pairs, write_pairs
from captum_pairwise.evaluation import __main__ as command
from captum_pairwise.evaluation.rows import read_rows
from captum_pairwise.evaluation.tables import measures
from captum_pairwise.evaluation.tables import report as table_report
from captum_pairwise.evaluation.tables import settings as presets
from captum_pairwise.evaluation.tables import study as tables
from captum_pairwise.evaluation.tables import table_methods as entrants
from captum_pairwise.evaluation.tables.image_pair import Model, subject_of
from captum_pairwise.evaluation.tables.processes import Ranks, ranks
from captum_pairwise.evaluation.tables.row_cache import content_digest, remembered_pair
from captum_pairwise.evaluation.tables.study import Run, TableRow
from captum_pairwise.games.game import CallableGame
from captum_pairwise.players.baselines import part_colour

pytest.importorskip("sklearn", reason="LIME is among the methods: pip install 'captum-pairwise[lime]'")
REPOSITORY = Path(__file__).parents[2]
SETTINGS = presets.changed(presets.PRESETS["quick"], table_cases.SMALL)
METHODS = list(entrants.ENTRANTS)
ROW = TableRow("net", "w", "sam", "s", "q.png", "r.png", "cat", "", "qm.png", "rm.png", faithfulness=0.25, inefficiency=0.5)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def subject(tmp_path, make=table_cases.encoder, with_masks=True):
    pair = read_pairs(table_cases.write_cases(tmp_path, 1, with_masks))[0]
    return subject_of(pair, Model("tiny", seeded(make)), SETTINGS.n_segments)


def explained(method, case):
    return entrants.ENTRANTS[method].explain(case, SETTINGS, torch.Generator().manual_seed(0))


def public(method, case):
    """Both maps and both sums of a method by the public classes over the whole network; n_segments and budgets enumerate."""
    model, layer, images = cp.SimilarityWrapper(case.model.encoder), case.model.encoder.features, case.images
    masks = tuple(cp.superpixels(image, SETTINGS.n_segments) for image in images)
    generator, object_ = torch.Generator().manual_seed(0), case.masks[0]
    if method == "sbsm":
        fill = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand_as(images[0])  # ImageNet's mean: 0 once it is normalised
        size = {"sliding_window_shapes": SETTINGS.window, "strides": SETTINGS.stride, "baselines": (fill, fill)}
        pairs = cp.PairwiseSBSM(model).window_pairs(images, n_samples=SETTINGS.second, generator=generator, **size)
        return cp.SBSM(model).attribute(images, **size)[1].mean(1), None, pairs.project(object_), None
    if method == "pshap":
        found = cp.PartitionShap(model).interactions(images, n_samples=SETTINGS.first)[1]
        return cp.PartitionShap(model).attribute(images, n_samples=SETTINGS.first)[1].mean(1), found.marginal.sum(), None, None
    if method in ("kshap", "factorised"):
        second = cp.KernelShapleyTaylor if method == "kshap" else cp.FactorisedShapleyTaylor
        budget = SETTINGS.n_embeddings if method == "factorised" else SETTINGS.second
        of_image = cp.KernelShapley(model).interactions(images, feature_mask=masks, n_samples=SETTINGS.first, generator=generator)[1]
        of_pair = second(model).interactions(images, feature_mask=masks, n_samples=budget, generator=torch.Generator().manual_seed(0))
        carried = cp.paint(of_pair.project(object_), masks[1])[:, 0]
        return cp.paint(of_image["marginal"], masks[1])[:, 0], of_image["marginal"].sum(), carried, of_pair["marginal"].sum()
    return _public_of_layers(method, model, layer, images, object_)


def _public_of_layers(method, model, layer, images, object_):
    def carried(found):
        return found.project(object_).reshape(1, 4, 4), found["marginal"].sum()

    if method == "vesm":
        return cp.LayerVESM(model, layer).attribute(images)[1][:, 0], None, None, None
    if method == "gcam":
        from captum.attr import LayerGradCam

        heat_map = LayerGradCam(model.given_query(images[0]), layer).attribute(images[1])[:, 0]
        return heat_map, heat_map.sum(), None, None
    if method == "sam":
        heat_map = cp.LayerSAM(model, layer).attribute(images)[1][:, 0]
        return heat_map, heat_map.sum(), *carried(cp.LayerPairwiseSAM(model, layer).interactions(images))
    if method == "igsam":
        heat_map = cp.LayerIGSAM(model, layer).attribute(images, n_steps=SETTINGS.n_steps)[1][:, 0]
        hessians = cp.LayerIntegratedHessians(model, layer, within=True).interactions(images, n_steps=SETTINGS.n_nodes)
        return heat_map, heat_map.sum(), *carried(hessians)
    second = cp.LayerKernelShapleyTaylor if method == "ksam" else cp.LayerFactorisedShapleyTaylor
    budget = SETTINGS.second_layer if method == "ksam" else SETTINGS.n_layer_embeddings
    return None, None, *carried(second(model, layer).interactions(images, n_samples=budget, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("random", "lime")])  # of LIME see below
def test_columns_are_the_public_classes(tmp_path, method):
    case = subject(tmp_path)
    found = explained(method, case)
    heat_map, total, carried, pair_total = public(method, case)
    if heat_map is not None:
        assert_close(found.first.heat_map, heat_map, rtol=1e-4, atol=1e-6)
    if method in ("ksam", "layer_factorised"):  # first order: efficient, and near the enumerated values
        assert found.first.credit.sum().item() == pytest.approx((case.full - case.empty(1)).item(), abs=1e-5)
    for view, wanted, credit in ((found.first, heat_map, total), (found.second, carried, pair_total)):
        assert (view is None) == (wanted is None) or method in ("ksam", "layer_factorised")
        assert credit is None or view.credit.sum().item() == pytest.approx(credit.item(), abs=1e-5)
    if carried is not None and method != "ksam":  # whose draws go on from those of the first order
        assert_close(found.second.heat_map, carried, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["sam", "igsam", "ksam", "layer_factorised", "vesm", "gcam", "kshap"])
def test_a_head_is_part_of_the_similarity(tmp_path, method):
    case = subject(tmp_path, table_cases.with_head)
    model, images = cp.SimilarityWrapper(case.model.encoder), case.images
    assert_close(case.full, model(*images))
    assert_close(case.empty(1), model(images[0], cp.blur_baseline(images[1])))
    assert_close(case.empty(2), model(*map(cp.blur_baseline, images)))
    found = explained(method, case)
    if method in ("igsam", "ksam", "layer_factorised", "kshap"):
        assert found.first.credit.sum().item() == pytest.approx((case.full - case.empty(1)).item(), abs=1e-3)
        assert found.second.credit.sum().item() == pytest.approx((case.full - case.empty(2)).item(), abs=2e-2)


@pytest.mark.parametrize("method", ["ksam", "layer_factorised"])
def test_enumerated_layer_methods_are_exact(tmp_path, method):
    case = subject(tmp_path, table_cases.coarse)
    settings = replace(SETTINGS, first_layer=16, second_layer=256, n_layer_embeddings=16)  # of 2×2 positions all coalitions
    found = entrants.ENTRANTS[method].explain(case, settings, torch.Generator())
    model, layer = cp.SimilarityWrapper(case.model.encoder), case.model.encoder.features
    exact = cp.LayerExactShapleyTaylor(model, layer).interactions(case.images, n_samples=256)
    assert_close(found.second.heat_map, exact.project(case.masks[0]).reshape(1, 2, 2), rtol=1e-3, atol=1e-5)
    whole = cp.LayerKernelSAM(model, layer).attribute(case.images, n_samples=16)[1][:, 0]
    assert_close(found.first.heat_map, whole, rtol=1e-3, atol=1e-5)


def test_nothing_that_is_found_asks_for_gradients(tmp_path):
    case = subject(tmp_path, table_cases.with_head)
    for method in METHODS:
        found = explained(method, case)
        for view in filter(None, (found.first, found.second)):
            assert not view.heat_map.requires_grad and (view.credit is None or not view.credit.requires_grad)


def test_passes_are_distinct_coalitions(tmp_path):
    case, seen = subject(tmp_path), []
    case.prepare()
    case.model.wrapper.query_encoder.features.register_forward_hook(lambda _, inputs, __: seen.extend(map(content_digest, inputs[0])))
    case.model.wrapper.retrieved_encoder.features.register_forward_hook(lambda _, inputs, __: seen.extend(map(content_digest, inputs[0])))
    found = explained("kshap", case)
    assert found.n_passes == len(seen) == len(set(seen)) <= 2 * 16


def test_void_pixels_count_for_nothing_and_every_gap_is_its_own(tmp_path):
    case = subject(tmp_path)
    void = torch.rand(case.masks[1].shape, generator=torch.Generator().manual_seed(1)) < 0.3
    found = explained("kshap", case)
    for name in ("first", "second"):
        found = replace(found, **{name: replace(getattr(found, name), own_gap=float(len(name)))})
    row, pixels = measures.measured(found, replace(case, void=void)), metrics.to_pixels(found.second.heat_map, (32, 32))
    assert row.mean_iou == metrics.label_propagation(pixels, case.masks[1], void).mean_iou.item() != measures.measured(found, case).mean_iou
    model = cp.SimilarityWrapper(case.model.encoder)
    kept = metrics.second_order_faithfulness(model, case.images, pixels, case.masks, void=void).item()
    assert row.pair_faithfulness == pytest.approx(kept, abs=1e-6) != measures.measured(found, case).pair_faithfulness
    assert (row.own_inefficiency, row.own_pair_inefficiency) == (5, 6)


def test_ours_of_single_parts_are_shapley_values_with_the_query_whole(tmp_path):
    case = subject(tmp_path)
    exact = public("kshap", case)[0]  # all 16 coalitions
    assert_close(explained("factorised", case).first.heat_map, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["sbsm", "kshap", "sam", "random"])
def test_measures_are_the_metrics(tmp_path, method):
    case = subject(tmp_path)
    found, model = explained(method, case), cp.SimilarityWrapper(case.model.encoder)
    row = measures.measured(found, case)
    pixels = metrics.to_pixels(found.second.heat_map, (32, 32))
    assert row.faithfulness == pytest.approx(metrics.faithfulness(model, case.images, found.first.heat_map).item(), abs=1e-6)
    kept = metrics.second_order_faithfulness(model, case.images, pixels, case.masks)
    assert row.pair_faithfulness == pytest.approx(kept.item(), abs=1e-6)
    assert row.mean_iou == metrics.label_propagation(pixels, case.masks[1]).mean_iou.item()
    assert row.foreground_iou == metrics.label_propagation(pixels, case.masks[1]).foreground_iou.item()
    for name, order, view in (("inefficiency", 1, found.first), ("pair_inefficiency", 2, found.second)):
        promised = case.full - case.empty(order)
        wanted = abs(view.credit.sum() - promised).item() if view.credit is not None else nan
        assert getattr(row, name) == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_without_masks_there_is_the_first_order_alone(tmp_path):
    case = subject(tmp_path, with_masks=False)
    for method in METHODS:
        found = explained(method, case)
        assert found.second is None and isnan(measures.measured(found, case).mean_iou)
        assert not isnan(measures.measured(found, case).faithfulness)


def test_every_image_goes_through_the_network_once(tmp_path):
    case, seen = subject(tmp_path), []
    case.model.encoder.features.register_forward_hook(lambda _, inputs, __: seen.extend(map(content_digest, inputs[0])))
    for method in ("vesm", "gcam", "sam", "igsam", "ksam", "layer_factorised"):
        measures.measured(explained(method, case), case)
    assert len(seen) == len(set(seen)) > 5  # both images, their blurs, the query but for its object, and what each method leaves


def test_no_coalition_of_an_image_is_embedded_twice():
    asked = []

    def embed(z):
        asked.extend(map(tuple, z.tolist()))
        return z.float() @ torch.ones(3, 2)

    towers = remembered_pair(cp.game.TwoTowerGame(3, 3, embed, embed))
    every = cp.estimators.coalitions.all_coalitions(6)
    once, twice = towers.game.values(every), towers.game.values(every.flip(0)).flip(0)
    assert_close(once, twice)
    assert len(asked) == towers.n_passes == 2 * 8
    assert_close(once, cp.game.TwoTowerGame(3, 3, embed, embed).values(every))
    towers.game.values(every.double())
    assert towers.n_passes == 2 * 8  # a number is present or absent, too
    with pytest.raises(ValueError, match="two towers"):
        remembered_pair(CallableGame(1, 1, lambda z: z[:, 0]))


def test_a_run_writes_rows_tables_and_a_picture(tmp_path, capsys):
    assert command.main(table_cases.command_line(tmp_path, methods=["all"])) == 0
    printed, out = capsys.readouterr().out, tmp_path / "out"
    rows = read_rows(out / "results.csv", TableRow)
    assert len(rows) == 3 * len(METHODS) and not any(row.error for row in rows)
    assert [row.method for row in rows[: len(METHODS)]] == METHODS
    table = (out / "table.md").read_text()
    assert table in printed and "3 pairs of images, preset quick" in table
    assert r"\begin{tabular}" in (out / "table.tex").read_text() and r"$\pm$" in (out / "table.tex").read_text()
    with Image.open(out / "table.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 100
    for row in rows:
        assert row.query.startswith("query, ") and row.category == "square" and row.seconds > 0
        assert (row.passes > 0) == (entrants.ENTRANTS[row.method].family == entrants.AGNOSTIC)


def test_a_second_run_computes_only_what_is_new(tmp_path, monkeypatch, capsys):
    calls, real = [], tables._row
    monkeypatch.setattr(tables, "_row", lambda run, *more: calls.append(run) or real(run, *more))
    command.main(table_cases.command_line(tmp_path, "--limit", "2"))
    assert len(calls) == 2 * 3
    command.main(table_cases.command_line(tmp_path, "--limit", "2"))
    assert len(calls) == 6
    command.main(table_cases.command_line(tmp_path, methods=["gcam", "sam"]))
    assert [(run.query[7:8], run.method) for run in calls[6:]] == [("0", "gcam"), ("1", "gcam"), ("2", "gcam"), ("2", "sam")]
    command.main([*table_cases.command_line(tmp_path, methods=["sam"]), "--seed", "1"])  # other weights, other draws
    assert len(calls) == 6 + 4 + 3 and len(read_rows(tmp_path / "out" / "results.csv", TableRow)) == 3
    command.main([*table_cases.command_line(tmp_path, methods=["sam"]), "--set", "window=9"])  # and the others as before
    assert len(calls) == 6 + 4 + 3 + 3 and "window=8" in (tmp_path / "out" / "table.md").read_text()


def test_masks_that_are_added_later_are_seen(tmp_path):
    file, arguments = table_cases.write_cases(tmp_path, 2), table_cases.command_line(tmp_path, methods=["sam"])
    whole = file.read_text()
    write_pairs([replace(pair, query_mask=None, retrieved_mask=None) for pair in _pairs(file, whole)], file)
    assert command.main(arguments) == 0 and isnan(read_rows(tmp_path / "out" / "results.csv", TableRow)[0].mean_iou)
    file.write_text(whole)
    assert command.main(arguments) == 0 and not isnan(read_rows(tmp_path / "out" / "results.csv", TableRow)[0].mean_iou)


def _pairs(file, content):
    file.write_text(content)
    return read_pairs(file)


def test_results_do_not_depend_on_what_was_run_before(tmp_path):
    command.main(table_cases.command_line(tmp_path, methods=["all"]))
    for name in ("kshap", "ksam", "factorised"):
        command.main(table_cases.command_line(tmp_path, methods=[name], out=tmp_path / name))
        alone = read_rows(tmp_path / name / "results.csv", TableRow)
        among = [row for row in read_rows(tmp_path / "out" / "results.csv", TableRow) if row.method == name]
        assert [table_cases.timeless(row) for row in alone] == [table_cases.timeless(row) for row in among]


def test_a_pair_that_fails_is_written_down_and_the_rest_goes_on(tmp_path, capsys):
    arguments, out = table_cases.command_line(tmp_path), tmp_path / "out"
    photo = tmp_path / "retrieved, 1.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:100])
    assert command.main(arguments) == 1
    printed = capsys.readouterr()
    rows = read_rows(out / "results.csv", TableRow)
    assert [bool(row.error) for row in rows] == [False] * 3 + [True] * 3 + [False] * 3
    assert all("retrieved, 1.png to be an image" in row.error for row in rows[3:6])
    assert "3 of 9 runs failed" in printed.out and "retrieved, 1.png" in printed.out
    photo.write_bytes(whole)
    assert command.main(arguments) == 1 and len(table_cases.rows_in(out)) == 9  # written down is done
    assert command.main([*arguments, "--retry"]) == 0 and len(table_cases.rows_in(out)) == 12
    assert "failed" not in (out / "table.md").read_text()


def test_a_method_that_fails_is_written_down(tmp_path, capsys):
    assert (
        command.main(
            [*table_cases.command_line(tmp_path, methods=["kshap", "sam"]), "--set", *table_cases.SMALL, "first=3", "n_segments=9"]
        )
        == 1
    )
    rows = read_rows(tmp_path / "out" / "results.csv", TableRow)
    assert {row.method for row in rows if row.error} == {"kshap"} and "n_samples" in rows[0].error and "\n" not in rows[0].error


def test_an_interrupted_run_says_that_it_goes_on(tmp_path, monkeypatch, capsys):
    real, calls = tables._row, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(tables, "_row", interrupted)
    assert command.main(table_cases.command_line(tmp_path)) == command.INTERRUPTED
    assert "goes on" in capsys.readouterr().err and len(table_cases.rows_in(tmp_path / "out")) == 4
    assert command.main(table_cases.command_line(tmp_path)) == 0 and len(table_cases.rows_in(tmp_path / "out")) == 9


def test_two_commands_do_not_write_to_one_file(tmp_path, capsys):
    with tables.alone(tmp_path / "out" / "rows" / "rank-0.csv"), pytest.raises(SystemExit):
        command.main(table_cases.command_line(tmp_path))
    assert "another process" in capsys.readouterr().err
    assert command.main(table_cases.command_line(tmp_path)) == 0


def test_shares_are_even_and_whole(monkeypatch):
    shares = [Ranks(rank, 3).share(list(range(10))) for rank in range(3)]
    assert sorted(chain(*shares)) == list(range(10)) and max(map(len, shares)) - min(map(len, shares)) == 1
    assert ranks() == Ranks() and ranks().is_first
    for name, value in (("RANK", "2"), ("WORLD_SIZE", "4"), ("TORCHELASTIC_RESTART_COUNT", "1")):
        monkeypatch.setenv(name, value)
    assert ranks() == Ranks(2, 4, is_restarted=True)


def test_memory_that_is_gone_is_no_result(tmp_path, monkeypatch):
    def failing(*_):
        raise MemoryError

    monkeypatch.setitem(entrants.ENTRANTS, "sam", replace(entrants.ENTRANTS["sam"], explain=failing))
    with pytest.raises(MemoryError):
        command.main(table_cases.command_line(tmp_path, methods=["sam"]))
    assert not table_cases.rows_in(tmp_path / "out")


def test_a_long_error_is_shortened(tmp_path, monkeypatch):
    def failing(*_):
        raise RuntimeError("é\n\udcff\x1b" * 200_000)  # what is in a file may be in its error

    monkeypatch.setitem(entrants.ENTRANTS, "sam", replace(entrants.ENTRANTS["sam"], explain=failing))
    assert command.main(table_cases.command_line(tmp_path, methods=["sam"])) == 1
    assert command.main(table_cases.command_line(tmp_path, methods=["sam"])) == 1  # and can be read again
    rows = table_cases.rows_in(tmp_path / "out")
    assert all(len(row.error) <= 500 and row.error.isprintable() for row in rows) and len(rows) == 3


def test_of_rows_of_one_run_the_one_with_numbers_counts():
    failed = replace(ROW, error="no", faithfulness=nan)
    assert list(tables.merged([failed, ROW, replace(ROW, faithfulness=0.5)]).values()) == [ROW]
    assert tables.merged([failed]) == {ROW.key: failed}


def test_what_would_be_mixed_up_is_refused(tmp_path):
    pairs, model = read_pairs(table_cases.write_cases(tmp_path, 1)), Model("tiny", seeded(table_cases.encoder))
    for some, models, message in (
        (pairs * 2, [model], "every pair once"),
        (pairs, [model, Model("tiny", seeded(table_cases.with_head))], "every backbone .* once"),
        ([replace(pairs[0], category="a\nb")], [model], "line breaks"),
    ):
        with pytest.raises(ValueError, match=message):
            tables.plan(some, tmp_path, models, ["sam"], "s")


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
def test_a_command_that_cannot_be_done_is_refused(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        command.main([*table_cases.command_line(tmp_path), *arguments])
    assert message in capsys.readouterr().err


def test_a_package_that_is_missing_leaves_a_column_out(monkeypatch, capsys):
    monkeypatch.setattr(entrants, "find_spec", lambda name: None)
    assert entrants.chosen(["all"]) == [name for name in METHODS if name != "lime"]
    assert "captum-pairwise[lime]" in capsys.readouterr().out
    with pytest.raises(ValueError, match="sklearn"):
        entrants.chosen(["lime"])


def _rows_of(values, method):
    return [replace(ROW, method=method, query=f"{number}.png", faithfulness=value) for number, value in enumerate(values)]


def test_tables_have_means_errors_and_bold_bests():
    rows = [*_rows_of([0.1, 0.2, 0.3], "sam"), *_rows_of([0.2, 0.2, nan], "vesm"), *_rows_of([0.05], "kshap"), *_rows_of([9.0], "random")]
    text = table_report.markdown(rows, ["kshap", "vesm", "sam", "random"])
    error = (0.01 / 3) ** 0.5  # of the mean of 0.1, 0.2, 0.3: the variance 0.01 over three
    assert f"| Faithfulness | first | net | **0.050** | **0.200** ± 0.000 | **0.200** ± {error:.3f} | 9.000 |" in text
    assert "| Inefficiency | first | net |" in text and "mIoU" not in text


def test_less_inefficiency_is_better():
    rows = [replace(ROW, method="sam", inefficiency=0.2), replace(ROW, method="igsam", inefficiency=0.1)]
    assert "| Inefficiency | first | net | 0.200 | **0.100** |" in table_report.markdown(rows, ["sam", "igsam"])


def test_names_stay_text_in_tables():
    rows = [replace(ROW, model=r"a|b_<i>\&%$#^~{}")]
    (line,) = [line for line in table_report.markdown(rows, ["sam"]).splitlines() if "Faith" in line]
    assert r"a\|b\_\<i\>\\\&%\$#^\~\{\}" in line
    assert r"a\textbar{}b\_\textless{}i\textgreater{}\textbackslash{}\&\%\$\#\textasciicircum{}\textasciitilde{}\{\}" in table_report.latex(
        rows, ["sam"]
    )


def test_the_picture_has_every_mean(tmp_path):
    rows = [*_rows_of([0.1, 0.3], "sam"), *_rows_of([0.5, 0.5], "vesm")]
    figure = cp.visualization.table_figure(table_report.panels(rows, ["vesm", "sam"]))
    drawn = [y for axes in figure.axes for line in axes.lines for y in line.get_ydata()]
    assert any(abs(y - 0.2) < 1e-6 for y in drawn) and 0.5 in drawn
    with pytest.raises(ValueError, match="at least one panel"):
        cp.visualization.table_figure({})


def test_rows_are_a_plain_table(tmp_path):
    command.main(table_cases.command_line(tmp_path))
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0])[:10] == [*Run.__dataclass_fields__]
    assert float(lines[0]["faithfulness"]) == read_rows(tmp_path / "out" / "results.csv", TableRow)[0].faithfulness


def test_lime_shows_each_part_in_its_mean_colour(tmp_path):
    case = subject(tmp_path)
    settings, draws = replace(SETTINGS, first=2000, second=2000), torch.Generator().manual_seed(0)
    found, model = entrants.ENTRANTS["lime"].explain(case, settings, draws), cp.SimilarityWrapper(case.model.encoder)
    asked = {"baselines": (part_colour, part_colour), "feature_mask": case.superpixels, "n_samples": 2000}
    heat_map = cp.SuperpixelLime(model).attribute(case.images, **asked)[1].mean(1)  # of other draws
    assert_close(found.first.heat_map, heat_map, rtol=0.05, atol=0.05 * heat_map.abs().max().item())
    of_pair = cp.PairwiseLime(model).interactions(case.images, **asked)
    assert_close(found.second.credit, of_pair["marginal"][0], rtol=1e-3, atol=1e-5)  # all 256 coalitions
