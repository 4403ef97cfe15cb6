"""Proofs about an encoder, made once: it is deterministic, its first axis is the batch, and the axis of the channels is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from captum_pairwise.network.agreement import is_close, is_roughly_close
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.batching import is_out_of_memory
from captum_pairwise.network.channel_axis import ChannelTracker
from captum_pairwise.network.layers import get_single_output, record_calls
from captum_pairwise.network.model_state import describe_state
from captum_pairwise.network.output_axis import find_axis

Key = tuple[object, ...]
Outputs = dict[str, object]  # the outputs of one forward pass, by the name of the module in error messages
Found = TypeVar("Found")
_PROOFS: WeakKeyDictionary[Any, dict[Key, Any]] = WeakKeyDictionary()


@dataclass
class Proof:
    """What is known about an encoder, and about one of its layers.

    Attributes:
        output_axes: the axis of the channels in the encoder's output, or None if it is unknown, by the number of axes; empty if the encoder
            returns no tensor.
        layer_axis: the axis of the channels in the layer's output, or None if it is unknown.
        has_exact_tail: True after the cheaper way to run the tail was compared with the whole encoder on several coalitions.
        acts_affine: True if a tail of affine modules was affine between two outputs of the layer; None before that was tested.
        has_effect: True after all cells of the layer together moved the embedding.
    """

    output_axes: dict[int, int | None] = field(default_factory=dict)
    layer_axis: int | None = None
    has_exact_tail: bool = False
    acts_affine: bool | None = None
    has_effect: bool = False


def prove_encoder(encoder: nn.Module, layer: nn.Module | None, images: Tensor, is_stochastic: bool = False) -> Proof:
    """The proof for images of this kind; a second call for the same model in the same state runs nothing.

    Args:
        encoder: the network.
        layer: a module of it, or None for the encoder alone.
        images: a batch.
        is_stochastic: True to accept an encoder that draws at random.

    Raises:
        ValueError: the encoder draws at random, mixes the examples of a batch, needs a batch of a fixed size, or returns an output whose
            first axis is not the examples; or the layer does.
    """
    key = (layer and id(layer), describe_kind(images), is_stochastic)
    run = partial(_run, encoder, layer)
    return prove_once(encoder, key, lambda: _prove(run, layer, images, is_stochastic))


def describe_kind(images: Tensor) -> Key:
    """The properties of a batch on which a proof depends."""
    return images.dim(), images.dtype, images.device


def prove_once(function: Any, key: Key, prove: Callable[[], Found]) -> Found:
    """The result of a proof. It is kept for a network while the state of its modules is the same.

    Args:
        function: a network, its `forward`, or any other function; the state of another function is unknown, so it is proven anew.
        key: tells proofs of the same network apart.
        prove: returns the result, or raises an error, which is not kept.
    """
    owner = getattr(function, "__self__", function)
    if not isinstance(owner, nn.Module):
        return prove()
    proofs = _PROOFS.setdefault(owner, {})
    key = (getattr(function, "__name__", None), describe_state(owner), *key)
    if key not in proofs:
        proofs[key] = prove()
    return proofs[key]


def _run(encoder: nn.Module, layer: nn.Module | None, images: Tensor) -> Outputs:
    """The outputs of the encoder and of the layer for a batch."""
    if layer is None:
        return {f"the encoder ({type(encoder).__name__})": encoder(images)}
    with record_calls([layer], copies=False) as calls:
        output = encoder(images)
    return {
        f"the encoder ({type(encoder).__name__})": output,
        f"the layer ({type(layer).__name__})": get_single_output(calls[0], layer),
    }


@torch.no_grad()
def _prove(run: Callable[[Tensor], Outputs], layer: nn.Module | None, images: Tensor, is_stochastic: bool) -> Proof:
    single = images[:1]
    with ChannelTracker() as tracker:
        outputs = _run_batch(run, single, images)
    pair = _run_batch(run, make_two_examples(images), images)
    for part in outputs:
        _refuse_other_rows(outputs[part], 1, part)
        _refuse_other_rows(pair.get(part), 2, part)
    if not is_stochastic:
        refuse_dependence(outputs, pair, partial(run, single))
    axes = [find_axis(tracker, output, lambda rows, part=part: run(rows)[part], single) for part, output in outputs.items()]
    output = next(iter(outputs.values()))
    return Proof({output.dim(): axes[0]} if isinstance(output, Tensor) else {}, axes[-1] if layer is not None else None)


def _run_batch(run: Callable[[Tensor], Outputs], batch: Tensor, images: Tensor) -> Outputs:
    """The outputs for a batch, or none if memory is too small for it.

    If the network also fails for the images of the user, or for the second example alone, the error is the network's own.
    """
    try:
        return run(batch)
    except (AttributeError, TypeError) as error:  # the network expects another argument
        raise ValueError(
            f"Expected an encoder whose `forward` takes one batch of images, but it fails: {error}. Wrap the part that embeds in a module."
        ) from error
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        if is_out_of_memory(error) and len(batch) > 1:
            return {}
        run(images if len(batch) == 1 else batch[1:])
        raise ValueError(
            f"Expected an encoder for any number of images, but with {len(batch)} in a batch it fails: {error}. Take fixed batch sizes out "
            "of its `forward`, or wrap it in a module that loops over the images."
        ) from error


@disable_autocast()
def make_two_examples(images: Tensor) -> Tensor:
    """A batch of the first two examples; if they are equal, of the first, and of its numbers halved and in reverse order."""
    if len(images) > 1 and not torch.equal(images[0], images[1]):
        return images[:2]
    other = images[:1].flip(-1)  # pooling hides the order alone
    return torch.cat([images[:1], other / 2 if images.is_floating_point() else other])


def _refuse_other_rows(output: object, n_examples: int, name: str) -> None:
    if isinstance(output, Tensor) and (output.dim() == 0 or len(output) != n_examples):
        raise ValueError(
            f"Expected {name} to return one row for each image, [B, ...], got shape {tuple(output.shape)} for {n_examples}. Its first axis "
            "is not the batch: it holds frames, flips, windows or a sequence, or the images have no batch dimension. Take another module, "
            "or wrap it in a module that returns [B, ...]."
        )


def refuse_dependence(outputs: Outputs, pair: Outputs, repeat: Callable[[], Outputs]) -> None:
    """Refuse outputs for one example that differ in a larger batch, or in a second run.

    Args:
        outputs: the outputs for one example.
        pair: the outputs for a larger batch that begins with this example.
        repeat: runs the one example again.

    Raises:
        ValueError: the outputs are random, or depend on the rest of the batch.
    """
    rows = {part: output[:1] if isinstance(output, Tensor) and output.dim() else output for part, output in pair.items()}
    unlike = [part for part, output in outputs.items() if isinstance(output, Tensor) and not is_close(rows.get(part), output)]
    if not unlike:
        return
    first, second = repeat(), repeat()  # rounding may differ with the size of the batch, but not between two equal runs
    for part in unlike:
        if not is_close(first[part], second[part]):
            raise ValueError(
                f"Expected equal embeddings of equal images, but {part} draws at random. Call `model.eval()`, switch the randomness off, "
                "or average over it by `SimilarityWrapper(..., stochastic=True)`."
            )
        if rows and not is_roughly_close(rows[part], outputs[part]):
            raise ValueError(
                f"Expected an output of each image alone, but {part} mixes the images of a batch. Wrap it in a module that loops "
                "over the images."
            )
