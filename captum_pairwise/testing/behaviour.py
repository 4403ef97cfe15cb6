"""Checks of what comes in and what goes out: batches, chunks, precision, layouts, randomness, copies."""

import copy
import gc
import pickle
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from captum_pairwise.testing.test_model import Encoder, images
from captum_pairwise.testing.trial import DoesNotApply, Trial, expect

CALLS, WARM = 50, 5  # calls of the check of memory, and those before it looks
CHUNKS = (1, 3, 1000)


def plain_results(trial: Trial) -> None:
    """Results are finite, contiguous, detached, and have an entry for each pair of the batch."""
    found = trial.attribute(trial.make(trial.model()), images(2))
    for one in found if isinstance(found, tuple) else (found,):
        expect(isinstance(one, Tensor) and len(one) == 2, "expected a tensor with an entry for each of 2 pairs.")
        expect(one.isfinite().all(), "a credit is not finite.")
        expect(one.is_contiguous(), "a result is not contiguous, which Captum's metrics need.")
        expect(not one.requires_grad and one.grad_fn is None, "a result is attached to a graph.")


def batch_is_its_pairs(trial: Trial) -> None:
    """A batch of 3 gives what 3 batches of 1 give."""
    together = trial.explain(pair=images(3))
    alone = [trial.explain(pair=tuple(batch[k : k + 1] for batch in images(3))) for k in range(3)]
    trial.assert_same(together, tuple(map(torch.cat, zip(*alone, strict=True))), "of a batch of 3, and of its pairs one by one")


def any_chunk(trial: Trial) -> None:
    """The size of a forward pass changes nothing."""
    if trial.chunk is None:
        raise DoesNotApply("it takes no bound on a forward pass")
    expected = trial.explain()
    for size in CHUNKS:
        bound: dict[str, Any] = {trial.chunk: size}
        trial.assert_same(trial.explain(**bound), expected, f"with {trial.chunk}={size}")


def single_precision(trial: Trial) -> None:
    """float32 is near float64."""
    low = tuple(batch.float() for batch in images())
    found = trial.explain(trial.model(Encoder().float()), pair=low)
    expect(all(one.dtype == torch.float32 for one in found), f"of float32 images the result is {found[0].dtype}.")
    trial.assert_same(found, trial.explain(), "in float32", tolerance=2e-4)


def strided_images(trial: Trial) -> None:
    """Images that are not contiguous, or laid out channels last, give the same."""
    expected = trial.explain()
    strided = tuple(torch.stack([batch, batch], -1)[..., 0] for batch in images())
    trial.assert_same(trial.explain(pair=strided), expected, "of images that are not contiguous")
    last = tuple(batch.contiguous(memory_format=torch.channels_last) for batch in images())
    trial.assert_same(trial.explain(pair=last), expected, "of channels-last images")


def images_with_gradients(trial: Trial) -> None:
    """Images that require gradients, within a graph or without one, give the same and get none."""
    leaves = tuple(batch.requires_grad_() for batch in images())
    expected = trial.explain()
    trial.assert_same(trial.explain(pair=leaves), expected, "of images that require gradients")
    trial.assert_same(trial.explain(pair=tuple(leaf * 1 for leaf in leaves)), expected, "of images within a graph")
    expect(all(leaf.requires_grad and leaf.grad is None for leaf in leaves), "an image's gradient was touched.")


def inference_mode(trial: Trial) -> None:
    """Images made in inference mode, and a call within it, give the same."""
    expected = trial.explain()
    model = trial.model()
    with torch.inference_mode():
        pair = images()
        found = trial.explain(model, pair=pair)
    trial.assert_same(found, expected, "within inference mode")
    trial.assert_same(trial.explain(pair=pair), expected, "of images made in inference mode")


def seeded_draws(trial: Trial) -> None:
    """Equal generators give equal results, and so does none; global random state is untouched."""
    model = trial.model()
    before = torch.random.get_rng_state()
    runs = [trial.explain(model), trial.explain(model)]
    expect(torch.equal(before, torch.random.get_rng_state()), "the global random state was touched.")
    expect(all(torch.equal(*pair) for pair in zip(*runs, strict=True)), "two calls without a generator differ.")
    try:
        runs = [trial.explain(model, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    except TypeError:
        return  # it draws nothing
    expect(all(torch.equal(*pair) for pair in zip(*runs, strict=True)), "two calls with equal generators differ.")
    expect(torch.equal(before, torch.random.get_rng_state()), "the global random state was touched beside a generator.")


def copies(trial: Trial) -> None:
    """A copy of the method, and a pickled one, give the same."""
    method = trial.make(trial.model())
    expected = trial.read(trial.attribute(method, images()), trial.masks)
    for again in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        trial.assert_same(trial.read(trial.attribute(again, images()), trial.masks), expected, "of a copy of the method")


def no_growth(trial: Trial) -> None:
    """50 calls leave no more tensors behind than 5, and of other objects less than one a call."""
    method, pair = trial.make(trial.model()), images(1)

    def living(calls: int) -> tuple[int, int]:
        for _ in range(calls):
            trial.attribute(method, pair)
        gc.collect()
        things = gc.get_objects()
        return sum(issubclass(type(thing), Tensor) for thing in things), len(things)

    before, calls = living(WARM), CALLS - WARM
    tensors, things = (now - then for now, then in zip(living(calls), before, strict=True))
    expect(tensors <= 0, f"{calls} calls left {tensors} tensors behind.")
    expect(things < calls, f"{calls} calls left {things} objects behind.")


def warnings_once(trial: Trial) -> None:
    """No warning is given twice for one call."""
    method = trial.make(trial.model())
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        trial.attribute(method, images())
    repeated = [message for message, times in Counter(str(one.message) for one in given).items() if times > 1]
    expect(not repeated, f"a warning was given twice for one call: {' '.join(repeated)}")


CHECKS = (
    plain_results,
    batch_is_its_pairs,
    any_chunk,
    single_precision,
    strided_images,
    images_with_gradients,
    inference_mode,
    seeded_draws,
    copies,
    no_growth,
    warnings_once,
)
