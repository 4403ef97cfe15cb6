"""Explain one query against one or more others, in one call of a method."""

from dataclasses import replace
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.attr.enumerated import ExactShapleyTaylor, LayerExactShapleyTaylor
from captum_pairwise.attr.maxsim import MaxSimShapleyTaylor
from captum_pairwise.attr.sam import LayerPairwiseSAM
from captum_pairwise.explanations.absent_parts import BLURRED
from captum_pairwise.explanations.batch import Batch
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.explanations.frozen_tokens import remove_tokens
from captum_pairwise.explanations.held_out import measure_fit
from captum_pairwise.explanations.options import Options
from captum_pairwise.explanations.places import Places
from captum_pairwise.explanations.plan import Plan, make_plan
from captum_pairwise.explanations.plan_run import PlanRun, run_plan
from captum_pairwise.explanations.removal import read_names, remove_parts, remove_words
from captum_pairwise.explanations.trust import judge_numbers
from captum_pairwise.explanations.untrained import find_untrained
from captum_pairwise.explanations.verdict_words import Setting, find_weak_layer, write_verdict
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.models.heads import HEADS
from captum_pairwise.models.presence import PresencePairs
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text_towers import scores_pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.results.interactions import Interactions

MOST_MEMBERS = 8  # images of a background that take the place of absent parts
Fit = tuple[float, float]  # of the map of the query, and of the map of the other
OwnBlurs = tuple[float, float] | None
ROWS = 16  # of a background in one forward pass


@disable_autocast()
def explain_batch(batch: Batch, options: Options) -> list[Explanation]:
    """The explanation of each pair.

    Raises:
        ValueError: an option does not fit.
    """
    given, (batch, options) = batch, _prepare(batch, options)
    warnings = _find_warnings(given if options.method is MaxSimShapleyTaylor else batch)
    inputs = batch.inputs
    try:
        plan = make_plan(batch.forward_func, inputs, options)
        generator = torch.Generator().manual_seed(options.seed + 1)
        run = run_plan(batch.forward_func, plan, inputs, generator)
    except ValueError as error:  # the embeddings of a random network may all be zero or equal
        raise ValueError(" ".join([str(error), *(f"Note that {warning}." for warning in warnings)])) from error
    plan, pairs = run.plan, run.pairs
    measured, gallery = _measure_games(batch, run, generator), _score_gallery(given)
    if options.removal is not None:
        pairs = list(map(options.removal.place_patches, pairs))
    explanations = []
    for number, (pair, (fit, own_blurs)) in enumerate(zip(pairs, measured, strict=True)):
        contents = batch.query.contents[0], batch.retrieved.contents[number]
        sides = Places(contents[0], pair.query_players), Places(contents[1], pair.retrieved_players)
        setting = Setting(sides, plan.absent, _name_head(batch.forward_func), own_blurs, gallery, options.threshold)
        weak_layer = find_weak_layer(pair)
        alarms = [*warnings, weak_layer] if weak_layer is not None else warnings
        trust = judge_numbers(pair, fit, alarms, is_exact=_is_exact(batch.forward_func, plan, pair), is_path=run.is_checked)
        verdict = write_verdict(pair, setting, trust, alarms)
        explanations.append(Explanation(*contents, pair, verdict, _join_choices(batch, plan)))
    return explanations


def _prepare(batch: Batch, options: Options) -> tuple[Batch, Options]:
    """The batch and the options with the members of the background; of presences, if parts are removed inside the network."""
    ways, baselines = read_names(options.baselines)
    is_reranker, is_of_tokens = scores_pairs(batch.forward_func), options.method is MaxSimShapleyTaylor
    if ways is None and not is_reranker and not is_of_tokens:
        return batch, replace(options, baselines=baselines, background=_choose_members(batch))
    if batch.background is not None or baselines is not None or (is_of_tokens and ways is not None):
        place = "left out of the comparison" if is_of_tokens else "removed inside the network"
        raise ValueError(f"Expected no background and no other baselines, because parts are {place}. Leave them out.")
    sides = batch.query, batch.retrieved
    make: Any = remove_words if is_reranker else remove_parts
    model, removal = remove_tokens(batch.forward_func, *sides) if is_of_tokens else make(batch.forward_func, sides, ways or (None, None))
    query, retrieved = removal.replace_inputs(sides)
    return Batch(model, query, retrieved), replace(options, baselines=None, removal=removal)


def _choose_members(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
    """A few images of the background for each side whose parts they can replace; sentences cannot replace words of another sentence."""
    model, images = batch.forward_func, batch.background
    if images is None or not images.is_floating_point():
        return None, None
    members = images[
        torch.linspace(0, len(images) - 1, min(len(images), MOST_MEMBERS), device=images.device, dtype=torch.float64).round().long()
    ]
    is_shared = not isinstance(model, SimilarityWrapper) or model.retrieved_tower is model.query_encoder
    fits = [is_shared and batch.query.batch.shape[1:] == members.shape[1:], batch.retrieved.batch.shape[1:] == members.shape[1:]]
    return (members if fits[0] else None), (members if fits[1] else None)


@torch.no_grad()
def _measure_games(batch: Batch, run: PlanRun, generator: torch.Generator) -> list[tuple[Fit, OwnBlurs]]:
    """For each pair `R²` of its maps on coalitions that are drawn anew, and each image's similarity to its own blur."""
    has_blurs = _embeds_alike(batch.forward_func) and run.plan.absent == (BLURRED, BLURRED)
    # among embedded tokens one match is as good as another, so their maps alone predict little; their pairs tell the rest
    is_of_tokens = isinstance(run.plan.method, MaxSimShapleyTaylor)
    measured = []
    for game, pair in zip(run.games, run.pairs, strict=True):
        fit = (nan, nan) if is_of_tokens else measure_fit(game, pair, generator, run.n_coalitions)
        measured.append((fit, _compare_ends(game) if has_blurs else None))
    return measured


def _embeds_alike(forward_func: ForwardFunc) -> bool:
    """True if the similarity is an inner product of what one encoder makes of either image."""
    if not isinstance(forward_func, SimilarityWrapper) or forward_func.retrieved_tower is not forward_func.query_encoder:
        return False
    return forward_func.head.lift_query is not None and forward_func.head.lift_query is forward_func.head.lift_retrieved


def _compare_ends(game: Game) -> OwnBlurs:
    """The similarity of the query and its baseline, and of the other and its baseline; None for a game that is not of two towers."""
    if not isinstance(game, TwoTowerGame):
        return None
    ends = torch.tensor([[False], [True]], device="cpu")
    query, retrieved = game.embed_query(ends.expand(2, game.n_query)), game.embed_retrieved(ends.expand(2, game.n_retrieved))
    return (query[0] @ query[1]).item(), (retrieved[0] @ retrieved[1]).item()


def _find_warnings(batch: Batch) -> list[str]:
    """Signs that a network was not trained."""
    model, query, retrieved = batch.forward_func, batch.query.batch, batch.retrieved.batch
    networks: dict[nn.Module, tuple[Tensor, ...]] = {}
    if isinstance(model, SimilarityWrapper):
        networks = {model.retrieved_tower: (retrieved,), model.query_encoder: (query,)}
    elif isinstance(model, PresencePairs):
        networks = {model: (query, retrieved)}
    return list(dict.fromkeys(warning for network, inputs in networks.items() if (warning := find_untrained(network, *inputs)) is not None))


@torch.no_grad()
def _score_gallery(batch: Batch) -> Tensor | None:
    """The similarity of the query and each image of the background."""
    if batch.background is None:
        return None
    model, query, parts = batch.forward_func, batch.query.batch, batch.background.split(ROWS)
    if not isinstance(model, SimilarityWrapper):
        return torch.cat([model(query.expand(len(rows), *query.shape[1:]), rows).cpu() for rows in parts])
    embedding = model.embed_query(query)
    galleries = map(model.embed_retrieved, parts)
    return torch.cat([model.head.score(embedding.expand(len(rows), *embedding.shape[1:]), rows).cpu() for rows in galleries])


def _is_exact(forward_func: ForwardFunc, plan: Plan, pair: Interactions) -> bool:
    """True if the credits follow from all coalitions, or from a closed form."""
    if isinstance(plan.method, LayerPairwiseSAM):
        return isinstance(forward_func, SimilarityWrapper) and forward_func.head.frozen_norm is False
    n_players = sum(players.n_players for players in (pair.query_players, pair.retrieved_players) if players is not None)
    is_enumerated = int(pair.n_evaluations) >= 2**n_players
    return isinstance(plan.method, (ExactShapleyTaylor, LayerExactShapleyTaylor, MaxSimShapleyTaylor)) or is_enumerated


def _name_head(forward_func: ForwardFunc) -> str:
    return next((name for name, head in HEADS.items() if getattr(forward_func, "head", None) is head), "")


def _join_choices(batch: Batch, plan: Plan) -> str:
    """All choices in one line."""
    descriptions = dict.fromkeys(filter(None, (batch.query.description, batch.retrieved.description)))
    return " ".join([*plan.choices, *(f"{text[:1].upper()}{text[1:]}." for text in descriptions)])
