"""The inputs of one query and of the others that it is compared with, and the model that takes them."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Sentence
from captum_pairwise.explanations.inputs import Inputs, read_gallery, read_inputs
from captum_pairwise.explanations.preprocessing import Transform
from captum_pairwise.games.build import find_wrapper
from captum_pairwise.games.checks import refuse_training
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.models.adapters import adapt_model, name_adapter
from captum_pairwise.models.dual_encoder import choose_encoders
from captum_pairwise.models.function_encoder import find_modules
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text_towers import scores_pairs
from captum_pairwise.network.batching import is_out_of_memory
from captum_pairwise.network.layers import refuse_compiled


@dataclass(frozen=True)
class Batch:
    """The inputs of one query and of the others.

    Attributes:
        forward_func: the model.
        query: the query, one row.
        retrieved: the others.
        background: images of a gallery in the space of the retrieved side, or None.
    """

    forward_func: ForwardFunc
    query: Inputs
    retrieved: Inputs
    background: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Both batches, with the query repeated."""
        n_pairs = len(self.retrieved.batch)
        return self.query.batch.expand(n_pairs, *self.query.batch.shape[1:]), self.retrieved.batch


def wrap_model(model: Any) -> ForwardFunc:
    """A `SimilarityWrapper` of an encoder or of a function of one batch; a wrapper or a function of two batches is returned unchanged.

    Raises:
        ValueError: the model is neither, or is compiled.
    """
    if not callable(model):
        raise ValueError(
            f"Expected an encoder, a SimilarityWrapper or a function f(query, retrieved), got {type(model).__name__}. Pass one."
        )
    forward_func: Any = model
    wrapper = find_wrapper(forward_func)
    if wrapper is None and _takes_one_batch(model):
        wrapper = SimilarityWrapper(model)
    refuse_compiled(wrapper)
    return forward_func if wrapper is None else wrapper


def _takes_one_batch(model: Any) -> bool:
    """True for an encoder, False for a function of two batches."""
    is_module = isinstance(model, nn.Module)
    n_required = _count_required(model.forward if is_module else model)
    return n_required < 2 if is_module else n_required == 1


def _count_required(forward: Any) -> int:
    """The number of arguments that a function needs."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except ValueError:  # compiled code has no signature
        return 1
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in named and parameter.default is inspect.Parameter.empty for parameter in parameters)


def read_batch(
    model: Any,
    query: object,
    others: Sequence[object],
    names: Sequence[str],
    transform: Transform | None,
    background: Sequence[object] | None,
) -> Batch:
    """The inputs of one query and of the others.

    Raises:
        ValueError: an input cannot be read.
    """
    model = adapt_model(model)
    if scores_pairs(model):
        return Batch(model, _take_texts([query]), _take_texts(others), None if background is None else _take_texts(background).batch)
    forward_func = wrap_model(choose_encoders(model, query, others))
    for module in find_modules(forward_func).values():  # before it runs: statistics of a batch would change
        refuse_training(module, getattr(forward_func, "is_stochastic", False))
    transform = transform if transform is not None else getattr(model, "transform", None)
    encoders = (forward_func.query_encoder, forward_func.retrieved_tower) if isinstance(forward_func, SimilarityWrapper) else (None, None)
    query_inputs = read_inputs(encoders[0], [query], ["query"], transform)
    retrieved = read_inputs(encoders[1], others, names, transform)
    gallery = None if background is None else _read_background(encoders[1], background, transform)
    batch = Batch(forward_func, query_inputs, retrieved, gallery)
    _try_model(batch)
    return batch


def _read_background(encoder: nn.Module | None, background: Sequence[object], transform: Transform | None) -> Tensor:
    """The images of a gallery.

    Raises:
        ValueError: they are no list, or there is none.
    """
    if isinstance(background, (str, Path)):
        raise ValueError(f"Expected background to be a list of images, got {background!r} alone. Put it in a list.")
    items = list(background)
    if not items:
        raise ValueError("Expected background to hold at least one image of a gallery, got none. Leave it out for a blur.")
    return read_gallery(encoder, items, transform)


def _take_texts(texts: Sequence[object]) -> Inputs:
    """Texts for a model that makes its own inputs of two of them."""
    sentences = [text for text in texts if isinstance(text, str)]
    if len(sentences) < len(texts):
        raise ValueError("Expected texts, because the model scores two texts together, got something else. Pass strings.")
    return Inputs(torch.zeros(len(texts), 1, dtype=torch.float32, device="cpu"), tuple(Sentence((), text) for text in sentences))


@torch.no_grad()
def _try_model(batch: Batch) -> None:
    """Run the model on one pair.

    Raises:
        ValueError: it fails.
    """
    try:
        batch.forward_func(batch.query.batch.clone(), batch.retrieved.batch[:1].clone())
    except ValueError:
        raise
    except Exception as error:  # the model is the user's own code, which may raise anything
        if is_out_of_memory(error):
            raise
        shapes = " and ".join(str(tuple(inputs.batch[:1].shape)) for inputs in (batch.query, batch.retrieved))
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        adapter = name_adapter(batch.forward_func)
        remedy = f"Pass {adapter}" if adapter else "Check the model and its inputs"
        raise ValueError(f"Expected a model that takes inputs {shapes}, but it fails: {reason}. {remedy}.") from error
