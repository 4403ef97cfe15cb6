"""Checks of inputs and results: batches, chunks, precision, memory layouts, random draws, copies."""

import copy
import gc
import inspect
import pickle
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from captum_pairwise.testing.tiny_model import Encoder, images
from captum_pairwise.testing.trial import DoesNotApply, Trial, expect

CALLS, WARM_UP = 50, 5  # calls of the check of memory, and calls before it counts
CHUNKS = (1, 3, 1000)


def check_plain_results(trial: Trial) -> None:
    """Results are finite, contiguous, detached, and have an entry for each pair of the batch."""
    result = trial.call(trial.make(trial.model()).attribute, images(2))
    for tensor in result if isinstance(result, tuple) else (result,):
        expect(isinstance(tensor, Tensor) and len(tensor) == 2, "Expected a tensor with an entry for each of 2 pairs.")
        expect(tensor.isfinite().all(), "Expected finite credit, got NaN or infinity.")
        expect(tensor.is_contiguous(), "Expected a contiguous result, which Captum's metrics need.")
        expect(not tensor.requires_grad and tensor.grad_fn is None, "Expected a detached result, got one that is attached to a graph.")


def check_batch_is_its_pairs(trial: Trial) -> None:
    """A batch of 3 gives the same as 3 batches of 1."""
    batch = trial.explain(pair=images(3))
    pairs = [trial.explain(pair=tuple(side[k : k + 1] for side in images(3))) for k in range(3)]
    trial.assert_same(batch, tuple(map(torch.cat, zip(*pairs, strict=True))), "for a batch of 3 and for its pairs one by one")


def check_any_chunk(trial: Trial) -> None:
    """The number of rows in a forward pass does not change the result."""
    if trial.chunk is None:
        raise DoesNotApply("it has no argument that bounds a forward pass")
    expected = trial.explain()
    for size in CHUNKS:
        chunk: dict[str, Any] = {trial.chunk: size}
        trial.assert_same(trial.explain(**chunk), expected, f"with {trial.chunk}={size}")


def check_single_precision(trial: Trial) -> None:
    """The result in float32 is close to that in float64."""
    pair = tuple(batch.float() for batch in images())
    credit = trial.explain(trial.model(Encoder().float()), pair=pair)
    expect(all(side.dtype == torch.float32 for side in credit), f"Expected float32 for float32 images, got {credit[0].dtype}.")
    trial.assert_same(credit, trial.explain(), "in float32", tolerance=2e-4)


def check_strided_images(trial: Trial) -> None:
    """Images that are not contiguous, or in channels-last layout, give the same."""
    expected = trial.explain()
    strided = tuple(torch.stack([batch, batch], -1)[..., 0] for batch in images())
    trial.assert_same(trial.explain(pair=strided), expected, "for images that are not contiguous")
    channels_last = tuple(batch.contiguous(memory_format=torch.channels_last) for batch in images())
    trial.assert_same(trial.explain(pair=channels_last), expected, "for channels-last images")


def check_images_with_gradients(trial: Trial) -> None:
    """Images that require gradients, leaves or inside a graph, give the same, and their gradients stay empty."""
    leaves = tuple(batch.requires_grad_() for batch in images())
    expected = trial.explain()
    trial.assert_same(trial.explain(pair=leaves), expected, "for images that require gradients")
    trial.assert_same(trial.explain(pair=tuple(leaf * 1 for leaf in leaves)), expected, "for images inside a graph")
    expect(all(leaf.requires_grad and leaf.grad is None for leaf in leaves), "Expected no gradient in an image, got one.")


def check_inference_mode(trial: Trial) -> None:
    """Images that were made in inference mode, and a call in inference mode, give the same."""
    expected, model = trial.explain(), trial.model()
    with torch.inference_mode():
        pair = images()
        credit = trial.explain(model, pair=pair)
    trial.assert_same(credit, expected, "in inference mode")
    trial.assert_same(trial.explain(pair=pair), expected, "for images that were made in inference mode")


def check_seeded_draws(trial: Trial) -> None:
    """Two calls with equal generators, or without a generator, give equal results; the global random state does not change."""
    model = trial.model()
    state = torch.random.get_rng_state()
    runs = {"without a generator": [trial.explain(model) for _ in range(2)]}
    if "generator" in inspect.signature(trial.make(model).attribute).parameters:
        runs["with equal generators"] = [trial.explain(model, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    expect(torch.equal(state, torch.random.get_rng_state()), "Expected an unchanged global random state, got a changed one.")
    for context, (first, second) in runs.items():
        expect(all(map(torch.equal, first, second)), f"Expected equal results of two calls {context}, got different ones.")


def check_copies(trial: Trial) -> None:
    """A copy of the method, and a pickled method, give the same."""
    method = trial.make(trial.model())
    expected = trial.read(trial.call(method.attribute, images()), trial.masks)
    for twin in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        trial.assert_same(trial.read(trial.call(twin.attribute, images()), trial.masks), expected, "from a copy of the method")


def check_no_growth(trial: Trial) -> None:
    """50 calls leave no more tensors in memory than 5 calls, and less than one other object for each call."""
    method, pair = trial.make(trial.model()), images(1)

    def count_objects(n_calls: int) -> tuple[int, int]:
        for _ in range(n_calls):
            trial.call(method.attribute, pair)
        gc.collect()
        objects = gc.get_objects()
        return sum(issubclass(type(item), Tensor) for item in objects), len(objects)

    before, n_calls = count_objects(WARM_UP), CALLS - WARM_UP
    tensors, objects = (now - then for now, then in zip(count_objects(n_calls), before, strict=True))
    expect(tensors <= 0, f"Expected no new tensors after {n_calls} calls, got {tensors} left behind.")
    expect(objects < n_calls, f"Expected fewer than {n_calls} new objects after {n_calls} calls, got {objects} left behind.")


def check_warnings_once(trial: Trial) -> None:
    """One call gives each warning once."""
    method = trial.make(trial.model())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial.call(method.attribute, images())
    repeated = [message for message, count in Counter(str(warning.message) for warning in caught).items() if count > 1]
    expect(not repeated, f"Expected each warning once, got a repeated one: {' '.join(repeated)}")
