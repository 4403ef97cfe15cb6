"""Where models, images and players meet: `input_pairs` and `layer_pairs` make the games of a batch of pairs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise._compat import (
    expand_additional_forward_args,
    expand_target,
    format_additional_forward_args,
    run_forward,
    select_targets,
)
from captum_pairwise.baselines import Baseline, background_members
from captum_pairwise.game import Affine, CallableGame, Evaluator, Game, TwoTowerGame, embed_distinct, fitting_chunk
from captum_pairwise.interactions import Interactions, spread, stack
from captum_pairwise.layers import look_inside, only_output, record, recorded, refuse_compiled, replaced
from captum_pairwise.players import NEVER_LEAVES, Players, as_players, cells, default_players
from captum_pairwise.similarity import SimilarityWrapper, pool

ForwardFunc = Callable[..., Tensor]
Layers = nn.Module | tuple[nn.Module, nn.Module]
Images = tuple[Tensor, Tensor]
PairOf = tuple[Baseline, Baseline]
Masks = tuple[Tensor | None, Tensor | None]
Evaluate = Callable[[Tensor, Tensor, int], Tensor]
SIDES = ("query", "retrieved")


@dataclass(frozen=True)
class Request:
    """What a user asks for, beside the model and the images, in Captum's words.

    Attributes:
        baselines: a pair, one per image, in input space.
        feature_mask: a pair of integer masks over the inputs.
        layer_baselines: a pair in the space of the layer's output; takes the place of `baselines`.
        layer_mask: a pair of integer masks over the layer's output.
        target: which output of a forward function that is no `SimilarityWrapper`.
        additional_forward_args: what that function gets beside the images.
        chunk: the most rows in one forward pass; None fits it to memory.
        description: what a progress bar says; None shows no bar.
    """

    baselines: PairOf = (None, None)
    feature_mask: Masks = (None, None)
    layer_baselines: PairOf = (None, None)
    layer_mask: Masks = (None, None)
    target: object = None
    additional_forward_args: object = None
    chunk: int | None = None
    description: str | None = None


@dataclass(frozen=True)
class Side:
    """One side of a batch of pairs: what its players show when present, and when absent.

    Attributes:
        present: the images, or a layer's output for them.
        absent: the members of the background distribution, each shaped like `present`.
        players: who owns what.
    """

    present: Tensor
    absent: list[Tensor]
    players: Players

    def ids(self, example: int) -> Int[Tensor, " players"]:
        """The players that have a part in this image."""
        ids = self.players.ids[example].unique()
        return ids[ids != NEVER_LEAVES]

    def scatter(self, values: list[Tensor]) -> Float[Tensor, "batch ..."]:
        """Lay out one vector per pair, over the players that have a part in it, as the players are."""
        laid_out = values[0].new_zeros(len(values), self.players.n_players)
        for example, credit in enumerate(values):
            laid_out[example, self.ids(example)] = credit
        return laid_out.reshape(len(values), *self.players.shape)

    def mixers(self, example: int) -> list[Callable[[Tensor], Tensor]]:
        """For each background, the function from presences `[rows, players]` to mixed tensors `[rows, ...]`."""
        position = torch.searchsorted(self.ids(example), self.players.ids[example])
        position = torch.where(self.players.ids[example] == NEVER_LEAVES, len(self.ids(example)), position)
        return [_mixer(self.present[example], absent[example], position) for absent in self.absent]


def _mixer(present: Tensor, absent: Tensor, position: Int[Tensor, "..."]) -> Callable[[Tensor], Tensor]:
    def mix(z: Tensor) -> Tensor:
        z = torch.nn.functional.pad(z.to(present), (0, 1), value=1.0)[:, position]  # the last column never leaves
        return z * present + (1 - z) * absent  # not a + z (x - a), which is not exactly x at z = 1

    return mix


@dataclass(frozen=True)
class Pairs:
    """The games of a batch of pairs."""

    query: Side
    retrieved: Side
    game: Callable[[int], Game]

    def games(self) -> Iterator[Game]:
        """One game per pair, over the players that have a part in it."""
        return (self.game(example) for example in range(len(self.query.present)))

    def explain(self, estimate: Callable[[Game], Interactions]) -> Interactions:
        """Estimate every game."""
        return self.joined([estimate(game) for game in self.games()])

    def joined(self, estimates: list[Interactions]) -> Interactions:
        """One batch of the estimates of all pairs, its players numbered as the masks do."""
        n_query, n_retrieved = self.query.players.n_players, self.retrieved.players.n_players
        batch = [
            spread(estimate, self.query.ids(example), self.retrieved.ids(example), n_query, n_retrieved)
            for example, estimate in enumerate(estimates)
        ]
        return replace(stack(batch), query_players=self.query.players, retrieved_players=self.retrieved.players)


def as_wrapper(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    """The `SimilarityWrapper` behind a forward function: itself, its `forward`, or one inside `DataParallel`; or None."""
    owner = getattr(forward_func, "__self__", forward_func)
    if isinstance(owner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        owner = owner.module
    return owner if isinstance(owner, SimilarityWrapper) else None


def checked_images(inputs: object) -> Images:
    """The two batches of images, detached.

    Raises:
        ValueError: they are not two floating-point tensors of the same number of examples, or hold NaN or infinity.
    """
    is_pair = isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(x, Tensor) for x in inputs)
    if not is_pair:
        raise ValueError(f"Expected inputs to be a tuple (query, retrieved) of two tensors, got {type(inputs).__name__}.")
    query, retrieved = inputs
    if query.dim() == 0 or retrieved.dim() == 0 or len(query) != len(retrieved) or len(query) == 0:
        raise ValueError(
            f"Expected as many query images as retrieved ones, and at least one, got shapes {tuple(query.shape)} and "
            f"{tuple(retrieved.shape)}. Repeat one to explain it against several others."
        )
    for name, images in zip(SIDES, inputs, strict=True):
        if not images.is_floating_point():
            raise ValueError(f"Expected floating-point {name} images, got {images.dtype}. Convert them with `.float()`.")
        _refuse_not_finite(images, f"the {name} images")
    return query.detach(), retrieved.detach()


def _refuse_not_finite(rows: Tensor, what: str) -> None:
    bad = (~torch.isfinite(rows)).flatten(1).any(1).nonzero()
    if len(bad):
        raise ValueError(f"Expected finite numbers, got NaN or infinity in row {bad[0, 0].item()} of {what}.")


def _refuse_training(model: object) -> None:
    """A network that draws dropout, or normalises by its batch, is no function of one pair."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    active = [module for module in modules if module.training and isinstance(module, kinds)]
    if active:
        raise ValueError(
            f"Expected the model in evaluation mode, but its {type(active[0]).__name__} is training, which makes the similarity depend "
            "on the batch or on chance. Call `model.eval()` first."
        )


def _checked_model(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    model = as_wrapper(forward_func)
    _refuse_training(model if model is not None else getattr(forward_func, "__self__", forward_func))
    if model is not None:
        model.follow()
    return model


def input_pairs(forward_func: ForwardFunc, inputs: object, request: Request) -> Pairs:
    """Games whose players are parts of the images.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    query, retrieved = (
        Side(
            image,
            background_members(baseline, image, f"the {name} baseline"),
            as_players(mask, image, f"the {name} feature_mask") if mask is not None else default_players(image),
        )
        for name, image, baseline, mask in zip(SIDES, images, request.baselines, request.feature_mask, strict=True)
    )
    if model is None:
        return _joint_pairs(query, retrieved, request, lambda *images, example: _forward(forward_func, images, request, example))
    towers = Tower(query, lambda rows, _: model.embed_query(rows)), Tower(retrieved, lambda rows, _: model.embed_retrieved(rows))
    return _tower_pairs(model, *towers, request)


def layer_pairs(forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request) -> Pairs:
    """Games whose players are the cells of a layer's output; of the network, only the tail after the layer is run for them.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    if model is None:
        return _joint_layer_pairs(forward_func, layer, images, request)
    return _tower_pairs(model, *_layer_towers(model, layer, images, request), request)


@dataclass(frozen=True)
class Tower:
    """A side of a batch of pairs, and how its mixed tensors are embedded.

    Attributes:
        side: the players.
        embed: `(mixed [rows, ...], example) -> embeddings [rows, channels]`.
        is_affine: whether `embed` is an affine function of the mixed tensors.
    """

    side: Side
    embed: Callable[[Tensor, int], Tensor]
    is_affine: bool = False

    def functions(self, example: int, request: Request) -> list[Callable[[Tensor], Tensor]]:
        """For each background, the function from presences to embeddings."""
        if self.is_affine:
            return list(self.affine(example, request))
        return [
            self._in_chunks(lambda z, mix=mix: self.embed(mix(z), example), request) for mix in self.side.mixers(example)
        ]

    def affine(self, example: int, request: Request) -> list[Affine]:
        """For each background, the embedding as an affine function of the presences: a tail of pooling is one matrix product."""
        empty = self.side.present.new_zeros(1, len(self.side.ids(example)))
        found = []
        for mix in self.side.mixers(example):
            nobody = mix(empty)
            constant = self.embed(torch.zeros_like(nobody), example)
            # each player's change alone, less the constant: the difference of two near embeddings would lose digits
            move = self._in_chunks(lambda z, mix=mix, nobody=nobody: self.embed(mix(z) - nobody, example), request)
            moves = move(torch.eye(empty.shape[1], device=empty.device)) - constant
            found.append(Affine(self.embed(nobody, example)[0], moves))
        return found

    def _in_chunks(self, function: Callable[[Tensor], Tensor], request: Request) -> Evaluator:
        return Evaluator(function, request.chunk or fitting_chunk(self.side.present[0]), request.description)


def _layer_towers(model: SimilarityWrapper, layer: Layers, images: Images, request: Request) -> tuple[Tower, Tower]:
    refuse_compiled(model)
    layers = layer if isinstance(layer, tuple) else model.tower_layers(layer)
    encoders = (model.query_encoder, model.retrieved_encoder)
    query, retrieved = (_layer_tower(encoders[k], layers[k], images[k], request, k) for k in range(2))
    return query, retrieved


def _layer_tower(encoder: nn.Module, layer: nn.Module, images: Tensor, request: Request, k: int) -> Tower:
    view = look_inside(encoder, layer, images)
    absent = _layer_background(view.output, images, request, k, lambda baseline: record(encoder, layer, baseline)[0])
    side = Side(view.output, absent, _layer_players(view.output, request, k))
    return Tower(side, lambda outputs, example: pool(view.run_tail(outputs, example)), view.is_affine)


def _layer_background(
    output: Tensor, images: Tensor, request: Request, k: int, run: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """The layer's output for baseline images, unless the user gives it in the layer's own space."""
    if request.layer_baselines[k] is not None:
        return background_members(request.layer_baselines[k], output, f"the {SIDES[k]} layer_baselines")
    return [run(baseline) for baseline in background_members(request.baselines[k], images, f"the {SIDES[k]} baseline")]


def _layer_players(output: Tensor, request: Request, k: int) -> Players:
    mask = request.layer_mask[k]
    return cells(output) if mask is None else as_players(mask, output, f"the {SIDES[k]} layer_mask")


def affine_pairs(
    forward_func: ForwardFunc, layer: nn.Module | tuple[nn.Module, nn.Module], inputs: object, request: Request
) -> tuple[Pairs, list[tuple[Affine, Affine]]]:
    """The games of `layer_pairs`, and both towers of each as affine functions, averaged over a background distribution.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or a step after the layer is not affine.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    if model is None:
        raise ValueError("Expected a SimilarityWrapper, because a closed form needs both towers apart. Pass `SimilarityWrapper(encoder)`.")
    towers = _layer_towers(model, layer, images, request)
    if not all(tower.is_affine for tower in towers):
        raise ValueError(
            "Expected only pooling and linear layers after the layer, as the closed form holds for nothing else (paper, Prop. 4.1 and 5.1). "
            "Pick the last layer before pooling, or use LayerFactorisedShapleyTaylor."
        )
    affine = [(_mean(towers[0].affine(b, request)), _mean(towers[1].affine(b, request))) for b in range(len(images[0]))]
    return _tower_pairs(model, *towers, request), affine


def _mean(members: list[Affine]) -> Affine:
    return Affine(torch.stack([m.offset for m in members]).mean(0), torch.stack([m.moves for m in members]).mean(0))


def _tower_pairs(model: SimilarityWrapper, query: Tower, retrieved: Tower, request: Request) -> Pairs:
    select_targets(query.side.present.new_zeros(len(query.side.present)), request.target)  # Captum's own error for a target

    def game(example: int) -> Game:
        head, sizes = model.head, (len(query.side.ids(example)), len(retrieved.side.ids(example)))
        u, w = query.functions(example, request), retrieved.functions(example, request)
        if head.lift_query is not None and head.lift_retrieved is not None:
            return TwoTowerGame(*sizes, _mean_lifted(u, head.lift_query, "query"), _mean_lifted(w, head.lift_retrieved, "retrieved"))
        return CallableGame(*sizes, lambda z: _mean_score(u, w, head.score, z, sizes[0]))

    return Pairs(query.side, retrieved.side, game)


def _mean_lifted(functions: list[Callable[[Tensor], Tensor]], lift: Callable[[Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """Embeddings ready for an inner product; those of a background distribution are averaged, as the product is bilinear."""

    def embed(z: Tensor) -> Tensor:
        return torch.stack([lift(_checked_embeddings(function(z), name)) for function in functions]).mean(0)

    return embed


def _checked_embeddings(embeddings: Tensor, name: str) -> Tensor:
    _refuse_not_finite(embeddings, f"the {name} embeddings (rows are coalitions)")
    return embeddings if embeddings.dtype in (torch.float32, torch.float64) else embeddings.float()


def _mean_score(
    u: list[Callable[[Tensor], Tensor]],
    w: list[Callable[[Tensor], Tensor]],
    score: Callable[[Tensor, Tensor], Tensor],
    z: Tensor,
    n_query: int,
) -> Tensor:
    """The similarities by a head that has no bilinear form; each tower still embeds its distinct rows once."""
    queries = [_checked_embeddings(embed_distinct(function, z[:, :n_query]), "query") for function in u]
    retrieved = [_checked_embeddings(embed_distinct(function, z[:, n_query:]), "retrieved") for function in w]
    return torch.stack([_checked_values(score(*towers), len(z)) for towers in product(queries, retrieved)]).mean(0)


def _checked_values(values: object, n_rows: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (n_rows,):
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"Expected one similarity per pair, shape ({n_rows},), from the forward function, got {came}. Return a vector, or choose "
            "one output with `target`."
        )
    _refuse_not_finite(values[:, None], "the similarities (rows are coalitions)")
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _joint_pairs(query: Side, retrieved: Side, request: Request, evaluate: Callable[..., object]) -> Pairs:
    """Games of a forward function that is opaque: both mixed tensors go through it together."""

    def game(example: int) -> Game:
        n_query, n_retrieved = len(query.ids(example)), len(retrieved.ids(example))
        mixers = list(product(query.mixers(example), retrieved.mixers(example)))

        def values(z: Tensor) -> Tensor:
            scores = [evaluate(q(z[:, :n_query]), r(z[:, n_query:]), example=example) for q, r in mixers]
            return torch.stack([_checked_values(score, len(z)) for score in scores]).mean(0)

        chunk = request.chunk or min(fitting_chunk(query.present[0]), fitting_chunk(retrieved.present[0]))
        return CallableGame(n_query, n_retrieved, Evaluator(values, chunk, request.description))

    return Pairs(query, retrieved, game)


def _forward(forward_func: ForwardFunc, images: tuple[Tensor, ...], request: Request, example: int) -> object:
    """Run a user's function on rows that all come from one pair of the batch, with that pair's target and arguments."""
    n_rows = len(images[0])
    arguments = format_additional_forward_args(request.additional_forward_args)
    own = tuple(a[example : example + 1] if isinstance(a, Tensor) and a.dim() else a for a in arguments or ())
    target = request.target
    if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
        target = target[example : example + 1]
    return run_forward(
        forward_func, images, expand_target(target, n_rows), expand_additional_forward_args(own, n_rows) if own else None
    )


def _joint_layer_pairs(forward_func: ForwardFunc, layer: Layers, images: Images, request: Request) -> Pairs:
    """Games on two layers of a forward function that is opaque: all of it is run again, with both outputs replaced."""
    refuse_compiled(forward_func)
    layers = layer if isinstance(layer, tuple) else (layer, layer)

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        with recorded(layers if layers[0] is not layers[1] else layers[:1]) as calls:
            run_forward(forward_func, inputs, request.target, request.additional_forward_args)
        return [_of_one_side(only_output(outputs, one), one, inputs[0]) for outputs, one in zip(calls, layers, strict=False)]

    outputs = run(images)
    if len(outputs) == 1:
        raise ValueError(
            "Expected a layer for each image, a tuple (query layer, retrieved layer), because the forward function is no "
            "SimilarityWrapper. If one encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )
    sides = []
    for k in range(2):
        def of_baseline(baseline: Tensor, k: int = k) -> Tensor:
            return run((baseline, images[1]) if k == 0 else (images[0], baseline))[k]

        absent = _layer_background(outputs[k], images[k], request, k, of_baseline)
        sides.append(Side(outputs[k], absent, _layer_players(outputs[k], request, k)))

    def evaluate(*mixed: Tensor, example: int) -> object:
        rows = tuple(image[example : example + 1].expand(len(mixed[0]), *image.shape[1:]) for image in images)
        with ExitStack() as hooks:
            for one, output in zip(layers, mixed, strict=True):
                hooks.enter_context(replaced(one, output))
            return _forward(forward_func, rows, request, example)

    return _joint_pairs(*sides, request, evaluate)


def _of_one_side(output: Tensor, layer: nn.Module, images: Tensor) -> Tensor:
    if len(output) != len(images):
        raise ValueError(
            f"Expected the layer ({type(layer).__name__}) to return {len(images)} rows, one per pair, got {len(output)}. If the forward function "
            "embeds both images as one batch, pass `SimilarityWrapper(encoder)` instead."
        )
    return output
