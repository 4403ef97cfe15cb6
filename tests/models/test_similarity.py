"""Heads, tied towers that stay tied, and one-sided models."""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
from conftest import images, random_tensor, tiny_encoder
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.heads import make_head, normalize_rows, pool

close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
exactly = partial(torch.testing.assert_close, rtol=0, atol=0)
BATCH_NORM, DROPOUT = 5, 6  # layers of `full_encoder` after those of `tiny_encoder`


def asymmetric(u: Tensor, w: Tensor) -> Tensor:
    return (u * w.square()).sum(1)


SLOW_HEADS = {
    "cosine": lambda u, w: u @ w / (u.norm() * w.norm()),
    "dot": lambda u, w: sum(a * b for a, b in zip(u, w, strict=True)),
    "euclidean": lambda u, w: -sum((a - b) ** 2 for a, b in zip(u, w, strict=True)),
    asymmetric: lambda u, w: sum(a * b**2 for a, b in zip(u, w, strict=True)),
}
SIMILARITIES = pytest.mark.parametrize("similarity", SLOW_HEADS, ids=["cosine", "dot", "euclidean", "callable"])
NAMED = pytest.mark.parametrize("similarity", [name for name in SLOW_HEADS if isinstance(name, str)])


def slow_scores(similarity: str | Callable, u: Tensor, w: Tensor) -> Tensor:
    return torch.stack([SLOW_HEADS[similarity](a, b) for a, b in zip(u, w, strict=True)])


def embeddings(rows: int = 5) -> tuple[Tensor, Tensor]:
    return random_tensor(rows, 7, seed=1), random_tensor(rows, 7, seed=2)


def full_encoder(seed: int = 0) -> nn.Sequential:
    """A tiny encoder with buffers, and with a dropout that acts in train mode."""
    norm = nn.BatchNorm2d(6).double()
    norm.running_mean = random_tensor(6, seed=seed)
    return nn.Sequential(*tiny_encoder(seed), norm, nn.Dropout(0.3)).eval()


def scored_by_encoder(model: SimilarityWrapper, encoder: nn.Module, query: Tensor, retrieved: Tensor) -> Tensor:
    """What the similarity is when the one encoder embeds both images."""
    return model.head.score(pool(encoder(query)), pool(encoder(retrieved)))


def count_calls(*modules: nn.Module) -> Counter:
    calls = Counter()
    for module in modules:
        module.register_forward_hook(lambda *_, hooked=module: calls.update([hooked]))
    return calls


# heads


@SIMILARITIES
def test_head_is_its_formula(similarity: str | Callable) -> None:
    u, w = embeddings()
    close(make_head(similarity).score(u, w), slow_scores(similarity, u, w))


@NAMED
def test_lifted_embeddings_multiply_to_the_score(similarity: str) -> None:
    u, w = embeddings()
    head = make_head(similarity)
    assert head.lift_query is not None and head.lift_retrieved is not None
    close((head.lift_query(u) * head.lift_retrieved(w)).sum(1), slow_scores(similarity, u, w))


def test_callable_head_has_no_lifts() -> None:
    assert make_head(asymmetric).lift_query is None


def test_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="cosine"):
        SimilarityWrapper(nn.Identity(), similarity="cosinus")


def test_unit_names_the_row_without_a_direction() -> None:
    u, _ = embeddings()
    close(normalize_rows(u), torch.stack([row / row.square().sum().sqrt() for row in u]))
    u[3] = 0
    with pytest.raises(ValueError, match="row 3"):
        normalize_rows(u)


# encoders


@SIMILARITIES
def test_model_scores_the_averaged_maps(similarity: str | Callable) -> None:
    encoder, (q, r) = tiny_encoder(), images()
    averages = [torch.stack([encoder(x)[..., i, j] for i in range(3) for j in range(3)]).mean(0) for x in (q, r)]
    close(SimilarityWrapper(encoder, similarity=similarity)(q, r), slow_scores(similarity, *averages))


def test_different_towers_embed_their_own_side() -> None:
    ours, theirs, (q, r) = nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Tanh()), images()
    model = SimilarityWrapper(ours, theirs, similarity=asymmetric)
    close(model(q, r), slow_scores(asymmetric, ours(q), theirs(r)))


@pytest.mark.parametrize("bad", [nn.Flatten(2), nn.Flatten(0), nn.MaxPool2d(2, return_indices=True)], ids=["3-D", "1-D", "tuple"])
def test_encoder_output_of_another_form_is_refused(bad: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\[B, C\]"):
        SimilarityWrapper(bad)(*images())


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda encoder: torch.jit.trace(encoder, images()[0])], ids=["script", "trace"])
def test_torchscript_encoder_gives_the_same_similarity(compiled: Callable) -> None:
    q, r = images()
    model = SimilarityWrapper(compiled(tiny_encoder()))
    eager = SimilarityWrapper(tiny_encoder())
    close(model(q, r), eager(q, r))
    close(model.given_query(q)(r), eager(q, r))


# tied towers


@pytest.mark.parametrize("again", [False, True], ids=["one argument", "same encoder twice"])
def test_twin_is_other_modules_over_the_same_parameters(again: bool) -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder, encoder if again else None)
    assert model.query_encoder is encoder
    assert set(model.query_encoder.modules()).isdisjoint(model.retrieved_encoder.modules())
    assert [id(p) for p in model.parameters()] == [id(p) for p in encoder.parameters()]
    assert [id(p) for p in model.retrieved_encoder.parameters()] == [id(p) for p in encoder.parameters()]


def optimiser_step(encoder: nn.Module, model: nn.Module) -> None:
    pool(encoder(images()[0])).sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.1).step()


def train_once(encoder: nn.Module, model: nn.Module) -> None:
    encoder.train()
    model(*images())
    encoder.eval()


def train_with_dropout(encoder: nn.Module, model: nn.Module) -> None:
    encoder[DROPOUT].train()
    encoder[DROPOUT].p = 0.8


CHANGES = {
    "encoder.half": lambda e, m: e.half(),
    "encoder.to": lambda e, m: e.to(torch.float32),
    "model.double": lambda e, m: [e.float(), m.double()],
    "load": lambda e, m: e.load_state_dict(full_encoder(1).state_dict()),
    "load and assign": lambda e, m: e.load_state_dict(full_encoder(1).state_dict(), assign=True),
    "model loads": lambda e, m: m.load_state_dict(SimilarityWrapper(full_encoder(1)).state_dict()),
    "model loads and assigns": lambda e, m: m.load_state_dict(SimilarityWrapper(full_encoder(1)).state_dict(), assign=True),
    "optimiser step": optimiser_step,
    "new parameter": lambda e, m: setattr(e[0], "weight", nn.Parameter(tiny_encoder(1)[0].weight.detach())),
    "no bias": lambda e, m: setattr(e[0], "bias", None),
    "new submodule": lambda e, m: e.__setitem__(4, tiny_encoder(1)[4]),
    "new module without parameters": lambda e, m: e.__setitem__(1, nn.Tanh()),
    "one layer more": lambda e, m: e.append(nn.Tanh()),
    "parametrization": lambda e, m: parametrizations.orthogonal(e[0]),
    "buffer in place": lambda e, m: e[BATCH_NORM].running_mean.add_(torch.arange(6)),
    "new buffer": lambda e, m: setattr(e[BATCH_NORM], "running_var", torch.arange(1, 7).double()),
    "train": lambda e, m: e.train(),
    "train and eval": train_once,
    "dropout": train_with_dropout,
    "number": lambda e, m: setattr(e[BATCH_NORM], "eps", 1.0),
    "stride": lambda e, m: setattr(e[0], "stride", (1, 1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_twin_follows_the_encoder(change: Callable) -> None:
    encoder, (q, r) = full_encoder(), images()
    model = SimilarityWrapper(encoder)
    before = model(q, r)
    change(encoder, model)
    dtype = next(encoder.parameters()).dtype
    scores = []
    for forward in (model, partial(scored_by_encoder, model, encoder)):
        torch.manual_seed(0)
        scores.append(forward(q.to(dtype), r.to(dtype)))
    exactly(*scores)
    assert not torch.equal(scores[0].double(), before)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_a_copy_is_tied_to_its_own_encoder(similarity: str, clone: Callable) -> None:
    model, (q, r) = SimilarityWrapper(full_encoder(), similarity=similarity), images()
    before, copied = model(q, r), clone(model)
    exactly(copied(q, r), before)
    copied.query_encoder.load_state_dict(full_encoder(1).state_dict(), assign=True)
    exactly(copied(q, r), scored_by_encoder(copied, full_encoder(1), q, r))
    exactly(model(q, r), before)


@pytest.mark.parametrize("transform", [torch.fx.symbolic_trace, torch.compile])
def test_twin_of_a_transformed_encoder_is_made_once(transform: Callable) -> None:
    model = SimilarityWrapper(transform(tiny_encoder()))
    twin = model.retrieved_encoder
    model.follow()
    assert model.retrieved_encoder is twin


def test_twin_follows_a_torchscript_part() -> None:
    encoder, (q, r) = nn.Sequential(torch.jit.script(tiny_encoder()), nn.Identity()), images()
    model = SimilarityWrapper(encoder)
    encoder.load_state_dict({f"0.{name}": value for name, value in tiny_encoder(1).state_dict().items()})
    exactly(model(q, r), scored_by_encoder(model, encoder, q, r))


@pytest.mark.parametrize("replace", [False, True], ids=["as built", "after a replacement"])
def test_no_hook_fires_twice_in_a_forward(replace: bool) -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder)
    if replace:
        encoder[4] = tiny_encoder(1)[4]
        model.follow()
    modules = {*model.query_encoder.modules(), *model.retrieved_encoder.modules()}
    calls = count_calls(*modules)
    model(*images())
    assert calls == Counter(modules)


def test_a_hook_on_the_encoder_stays_off_a_twin_that_is_made_anew() -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder)
    encoder[4] = tiny_encoder(1)[4]
    calls = count_calls(encoder[0])
    model(*images())
    assert calls == Counter([encoder[0]])


# tower_layers


@pytest.mark.parametrize("tower", ["query_encoder", "retrieved_encoder"])
@pytest.mark.parametrize("name", ["", "0", "4"])
def test_tower_layers_finds_the_layer_in_both_towers(model: SimilarityWrapper, tower: str, name: str) -> None:
    found = model.tower_layers(getattr(model, tower).get_submodule(name))
    assert [id(layer) for layer in found] == [id(t.get_submodule(name)) for t in (model.query_encoder, model.retrieved_encoder)]


def test_tower_layers_finds_a_new_layer_in_the_tower_that_will_run() -> None:
    encoder = tiny_encoder()
    model = SimilarityWrapper(encoder)
    encoder[4] = tiny_encoder(1)[4]
    layers = model.tower_layers(encoder[4])
    calls = count_calls(*layers)
    model(*images())
    assert calls == Counter(layers)


def test_tower_layers_refuses_a_foreign_layer(model: SimilarityWrapper) -> None:
    with pytest.raises(ValueError, match="no module of it"):
        model.tower_layers(nn.ReLU())


@pytest.mark.parametrize("encoders", [[tiny_encoder(), tiny_encoder(1)], [torch.jit.script(tiny_encoder())]], ids=["different", "script"])
def test_tower_layers_refuses_towers_that_are_no_twins(encoders: list[nn.Module]) -> None:
    with pytest.raises(ValueError, match="Expected tied towers"):
        SimilarityWrapper(*encoders).tower_layers(encoders[0])


# one side fixed

TIED = partial(SimilarityWrapper, full_encoder())
DIFFERENT = partial(SimilarityWrapper, full_encoder(), full_encoder(1), similarity=asymmetric)
MODELS = pytest.mark.parametrize("make_model", [TIED, DIFFERENT], ids=["tied", "different"])
SIDES = pytest.mark.parametrize("side", [0, 1], ids=["given_query", "given_retrieved"])


def fix(model: SimilarityWrapper, side: int, fixed: Tensor) -> nn.Module:
    return [model.given_query, model.given_retrieved][side](fixed)


@MODELS
@SIDES
def test_one_sided_model_is_the_model(make_model: Callable, side: int) -> None:
    model, pair = make_model(), images(3)
    close(fix(model, side, pair[side])(pair[1 - side]), model(*pair))


@MODELS
@SIDES
def test_one_fixed_image_meets_every_row(make_model: Callable, side: int) -> None:
    model, pair = make_model(), list(images(3))
    one = pair[side][:1]
    pair[side] = one.expand_as(pair[side])
    close(fix(model, side, one)(pair[1 - side]), model(*pair))


@MODELS
@SIDES
def test_fixed_rows_are_tiled_as_captum_tiles_inputs(make_model: Callable, side: int) -> None:
    model, pair = make_model(), images(2)
    close(fix(model, side, pair[side])(torch.cat([pair[1 - side]] * 3)), torch.cat([model(*pair)] * 3))


@SIDES
def test_rows_that_do_not_divide_are_refused(model: SimilarityWrapper, side: int) -> None:
    with pytest.raises(ValueError, match="multiple of the 2"):
        fix(model, side, images(2)[0])(images(3)[1])


@MODELS
@SIDES
def test_fixed_side_is_embedded_once(make_model: Callable, side: int) -> None:
    model, pair = copy.deepcopy(make_model()), images()
    calls = count_calls(model.query_encoder, model.retrieved_encoder)
    one_sided = fix(model, side, pair[side])
    for n_forwards in range(3):
        assert calls.total() == 1 + n_forwards
        one_sided(pair[1 - side])


@pytest.mark.parametrize("name", ["given_query", "given_retrieved", "given_gallery"])
def test_fixed_embedding_is_a_buffer_without_gradient(model: SimilarityWrapper, name: str) -> None:
    one_sided = getattr(model, name)(images()[0])
    (fixed,) = one_sided.buffers()
    assert not fixed.requires_grad
    single = one_sided.to(torch.float32)
    assert [buffer.dtype for buffer in single.buffers()] == [torch.float32]
    assert single(images()[0].float()).dtype == torch.float32


@SIMILARITIES
@pytest.mark.parametrize("other", [None, full_encoder(1)], ids=["tied", "different"])
def test_gallery_scores_every_item(similarity: str | Callable, other: nn.Module | None) -> None:
    model = SimilarityWrapper(full_encoder(), other, similarity=similarity)
    q, gallery = images(2)[0], images(3)[1]
    expected = torch.stack([model(q, item.expand_as(q)) for item in gallery], 1)
    close(model.given_gallery(gallery)(q), expected)
