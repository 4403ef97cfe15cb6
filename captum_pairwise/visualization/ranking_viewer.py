"""Interactive page of a ranked list: click a part of the query, and see where it is in every result."""

from collections.abc import Sequence
from typing import Any

import torch

from captum_pairwise.results.index_words import describe_prediction
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.objective import Objective
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.page_data import Sheet, build_colours, describe_method, describe_side, encode_floats, prepare_side
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.ranked_sides import check_ranking, find_objective_verdict, join_verdicts, write_scores
from captum_pairwise.visualization.sheets import Side
from captum_pairwise.visualization.viewer import Viewer, describe_verdict, load_template

RANKING_SCRIPTS = ("numbers.js", "elements.js", "parts.js", "panels.js", "ranking.js")  # each needs the scripts before it
LARGEST_RESULT = 512  # pixels of the longer side of a result's photo


def ranking_viewer(
    results: Sequence[Interactions],
    query: Side,
    retrieved: Sequence[Side],
    names: Sequence[str],
    scores: Sequence[float],
    *,
    title: str = "",
    verdicts: Sequence[Verdict] = (),
    margin: str = "",
    objective: Objective | None = None,
    choices: str = "",
) -> Viewer:
    """Page with the query once, and the results in their order with names, scores and maps.

    A part of the query shows its pairs with the parts of every result. All results have one scale. The page loads no other file.

    Args:
        results: of the query and each result, batches of one.
        query: the photo `[1, 3, H, W]` in [0, 1], or the tokens of a sentence.
        retrieved: the photos or tokens of the results, in their order.
        names: of the results.
        scores: of the results.
        title: the title of the page; "" for its question.
        verdicts: on each result. Their warnings are a banner. A click on the trust of a result shows its sentences and numbers. Maps that
            are not to be read are grey.
        margin: why the first result comes before the second; a text that begins with "Warning: " becomes part of the banner.
        objective: of the results: the query then shows the map of the objective first, on its own scale.
        choices: one line in small print: which layer, players, method and budget the explanations use.

    Raises:
        ValueError: there is not one of everything for each result, the players or credits do not fit, or a number is not finite.

    >>> import torch, captum_pairwise as cp
    >>> encoder = torch.nn.Identity()  # every pixel is a cell
    >>> method = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, results = torch.rand(1, 3, 2, 2), [torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)]
    >>> interactions = [method.interactions((query, result)) for result in results]
    >>> page = ranking_viewer(interactions, query, results, ["first", "second"], [0.9, 0.8], title="Two results")
    >>> "<title>Two results</title>" in page.html
    True

    See also `ranking_figure`, and `cp.explain_ranking`, whose result has this page.
    """
    check_ranking(results, retrieved, names, scores, verdicts)
    if len({_count_query_parts(result) for result in results}) > 1:
        raise ValueError("Expected the same parts of the query for all results, got other numbers of them. Explain all with one method.")
    first = prepare_side(query, results[0], 0, 0)
    lists = (results, retrieved, names, write_scores(scores, verdicts, objective), verdicts or [None] * len(results))
    data = {
        "query": describe_side(first),
        "results": [_describe_result(*columns, query, first) for columns in zip(*lists, strict=True)],
    }
    if objective is not None and objective.query_map is not None:
        data["objective"] = _describe_objective(objective, first, verdicts)
    verdict, template = join_verdicts(verdicts, margin, title, objective), load_template("ranking.html", RANKING_SCRIPTS)
    return Viewer(template.render(data=data, verdict=verdict, title=verdict.question, choices=choices))


def _describe_objective(objective: Objective, query: Sheet, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The map of the query for the objective, as values for JSON."""
    values = objective.query_map if objective.query_map is not None else torch.zeros(0, device="cpu", dtype=torch.float32)
    shown = values if isinstance(query, PhotoParts) else values[: len(query)]
    palette = build_colours(find_objective_verdict(objective, verdicts))["palette"]
    return {"values": encode_floats(shown), "purpose": objective.purpose, "palette": palette}


def _count_query_parts(result: Interactions) -> int:
    return result.n_query if result.between is None else result.between.shape[1]


def _describe_result(
    result: Interactions, side: Side, name: str, score: str, verdict: Verdict | None, query: Side, first: Sheet
) -> dict[str, Any]:
    """One result with its name, its colours, and its verdict in words; `first` is the picture of the query that the page shows."""
    sheets = prepare_side(query, result, 0, 0, first), prepare_side(side, result, 1, 0)
    words = describe_verdict(verdict, "")
    trust = words["verdict"].trust
    return {
        "name": name,
        "score": score,
        "side": describe_side(sheets[1], LARGEST_RESULT),
        "method": describe_method(name, result, sheets, 0),
        "palette": build_colours(verdict)["palette"],
        "words": {
            "label": trust.label,
            "trust_class": words["trust_class"],
            "sentences": list(dict.fromkeys(filter(None, [*words["verdict"].sentences, describe_prediction(result, 0), *trust.evidence]))),
        },
    }
