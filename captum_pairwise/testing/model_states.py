"""Checks of models in the states that users bring them in."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import torch
from torch import nn

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.test_model import Encoder, images
from captum_pairwise.testing.trial import CheckFailed, DoesNotApply, Trial, expect

ROUNDS = 4  # explanations while another thread uses the model


def train_mode(trial: Trial) -> None:
    """A model in train mode gives the same where the mode changes nothing, and is refused where it draws dropout."""
    model = trial.model()
    model.train()
    trial.assert_same(trial.explain(model), trial.explain(), "of a model in train mode")
    expect(all(module.training for module in model.modules()), "a model in train mode was put into another.")
    encoder = Encoder()
    encoder.tail.insert(1, nn.Dropout(0.5))
    _refused(trial, SimilarityWrapper(encoder.train()), "a model in train mode with dropout")


def _refused(trial: Trial, model: SimilarityWrapper, what: str) -> None:
    try:
        trial.explain(model)
    except ValueError as refusal:
        expect(str(refusal).startswith("Expected "), f"{what} is refused with {str(refusal)!r}, which does not say what was expected.")
    else:
        raise CheckFailed(f"{what} was explained, though its similarity depends on chance.")


def frozen_model(trial: Trial) -> None:
    """A model whose parameters take no gradients gives the same."""
    model = trial.model()
    trial.assert_same(trial.explain(model.requires_grad_(False)), trial.explain(), "of a frozen model")
    expect(not any(parameter.requires_grad for parameter in model.parameters()), "a frozen model was thawed.")


def another_thread(trial: Trial) -> None:
    """While another thread uses and explains the same model, both get what they get alone."""
    model, stop = trial.model(), Event()
    expected, alone = trial.explain(model), model(*images())

    def use() -> None:
        while not stop.is_set():
            expect(torch.equal(model(*images()), alone), "another thread's forward pass was changed by an explanation.")

    def explain() -> None:
        trial.assert_same(trial.explain(model), expected, "of a model that another thread explains")

    with _many_switches(), ThreadPoolExecutor(3) as threads:
        user, other = threads.submit(use), threads.submit(explain)
        try:
            for _ in range(ROUNDS):
                trial.assert_same(trial.explain(model), expected, "of a model that another thread uses")
        finally:
            stop.set()
        user.result()
        other.result()


@contextmanager
def _many_switches() -> Iterator[None]:
    """Let threads take turns so often that they meet in the middle of everything."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def other_device(trial: Trial) -> None:
    """On another device, where there is one, the result is there, and near the same."""
    devices = [name for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if module.is_available()]
    if not devices:
        raise DoesNotApply("there is no other device here")
    for device in devices:
        pair = tuple(batch.float().to(device) for batch in images())
        found = trial.explain(trial.model(Encoder().float().to(device)), pair=pair)
        expect(all(one.device.type == device for one in found), f"of images on {device} the result is elsewhere.")
        trial.assert_same(tuple(one.cpu() for one in found), trial.explain(), f"on {device}", tolerance=1e-3)


def compiled_model(trial: Trial) -> None:
    """A model of `torch.compile` gives the same, or is refused in a sentence."""
    _same_or_refused(trial, lambda encoder: torch.compile(encoder, backend="eager"), "of a compiled model")


def scripted_model(trial: Trial) -> None:
    """A model of `torch.jit.script` gives the same, or is refused in a sentence."""
    _same_or_refused(trial, torch.jit.script, "of a scripted model")


def traced_model(trial: Trial) -> None:
    """A model of `torch.jit.trace` gives the same, or is refused in a sentence."""
    _same_or_refused(trial, lambda encoder: torch.jit.trace(encoder, images(1)[0]), "of a traced model")


def _same_or_refused(trial: Trial, change: Callable[[nn.Module], Any], what: str) -> None:
    expected = trial.explain()
    try:
        found = trial.explain(SimilarityWrapper(change(Encoder().eval())))
    except ValueError as refusal:
        expect(str(refusal).startswith("Expected "), f"{what}: refused with {str(refusal)!r}, which does not say what was expected.")
    else:
        trial.assert_same(found, expected, what)


CHECKS = (train_mode, frozen_model, another_thread, other_device, compiled_model, scripted_model, traced_model)
