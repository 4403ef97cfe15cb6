"""Checks of models in different states: train mode, frozen, on another device, compiled, used by another thread."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import torch
from torch import nn

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.tiny_model import Encoder, images
from captum_pairwise.testing.trial import Credits, DoesNotApply, Trial, expect

ROUNDS = 4  # explanations while another thread uses the model


def check_train_mode(trial: Trial) -> None:
    """A model in train mode gives the same if the mode changes nothing, and is refused if it draws dropout."""
    model = trial.model()
    model.train()
    trial.assert_same(trial.explain(model), trial.explain(), "for a model in train mode")
    expect(all(module.training for module in model.modules()), "Expected a model that stays in train mode, got another mode.")
    encoder = Encoder()
    encoder.tail.insert(1, nn.Dropout(0.5))
    credit = _explain_unless_refused(trial, lambda: SimilarityWrapper(encoder.train()), "a model in train mode with dropout")
    expect(credit is None, "Expected a refusal of a model in train mode with dropout, as its similarity is random, got an explanation.")


def _explain_unless_refused(trial: Trial, build_model: Callable[[], SimilarityWrapper], name: str) -> Credits | None:
    """The credit, or None if the model is refused with a message that says what was expected."""
    try:
        return trial.explain(build_model())
    except ValueError as error:
        expect(str(error).startswith("Expected "), f"Expected {name} to be refused with 'Expected …', got {str(error)!r}.")
        return None


def check_frozen_model(trial: Trial) -> None:
    """A model whose parameters take no gradients gives the same."""
    model = trial.model()
    trial.assert_same(trial.explain(model.requires_grad_(False)), trial.explain(), "for a frozen model")
    expect(not any(parameter.requires_grad for parameter in model.parameters()), "Expected a model that stays frozen, got gradients.")


def check_another_thread(trial: Trial) -> None:
    """Two threads that use and explain the same model at the same time get the same as each alone."""
    model, stop = trial.model(), Event()
    expected, scores = trial.explain(model), model(*images())

    def use() -> None:
        while not stop.is_set():
            expect(torch.equal(model(*images()), scores), "Expected the usual scores in another thread, got others during an explanation.")

    def explain() -> None:
        trial.assert_same(trial.explain(model), expected, "for a model that another thread explains")

    with _switch_threads_often(), ThreadPoolExecutor(3) as threads:
        user, explainer = threads.submit(use), threads.submit(explain)
        try:
            for _ in range(ROUNDS):
                trial.assert_same(trial.explain(model), expected, "for a model that another thread uses")
        finally:
            stop.set()
        user.result()
        explainer.result()


@contextmanager
def _switch_threads_often() -> Iterator[None]:
    """Make threads switch so often that they interrupt each other everywhere."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def check_other_device(trial: Trial) -> None:
    """On another device, if there is one, the result is on that device and almost the same."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None:
        raise DoesNotApply("there is no other device here")
    pair = tuple(batch.float().to(device) for batch in images())
    credit = trial.explain(trial.model(Encoder().float().to(device)), pair=pair)
    expect(all(side.device.type == device.type for side in credit), f"Expected the result on {device}, got another device.")
    trial.assert_same(tuple(side.cpu() for side in credit), trial.explain(), f"on {device}", tolerance=1e-3)


def check_default_device(trial: Trial) -> None:
    """Another default device, where tensors made without a device lie, gives the same."""
    model, pair, masks = trial.model(), images(), trial.masks
    expected = trial.explain(model, pair, masks)
    with torch.device("meta"):  # a tensor on it has no numbers
        result = trial.call(trial.make(model).attribute, pair, masks)
    trial.assert_same(trial.read(result, masks), expected, "with another default device")


def check_default_dtype(trial: Trial) -> None:
    """Another default dtype gives the same for a model and images in float32."""
    model, pair, masks = trial.model(Encoder().float()), tuple(batch.float() for batch in images()), trial.masks
    expected = trial.explain(model, pair, masks)
    for dtype in (torch.float64, torch.float16):
        with _set_default_dtype(dtype):
            credit = trial.explain(model, pair, masks)
        expect(all(side.dtype == torch.float32 for side in credit), f"Expected float32 with the default {dtype}, got {credit[0].dtype}.")
        trial.assert_same(credit, expected, f"with the default {dtype}", tolerance=1e-6)


@contextmanager
def _set_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_compiled_model(trial: Trial) -> None:
    """A model of `torch.compile` gives the same, or is refused with a message that says what was expected."""
    _check_converted(trial, lambda encoder: torch.compile(encoder, backend="eager"), "a compiled model")


def check_scripted_model(trial: Trial) -> None:
    """A model of `torch.jit.script` gives the same, or is refused with a message that says what was expected."""
    _check_converted(trial, torch.jit.script, "a scripted model")


def check_traced_model(trial: Trial) -> None:
    """A model of `torch.jit.trace` gives the same, or is refused with a message that says what was expected."""
    _check_converted(trial, lambda encoder: torch.jit.trace(encoder, images(1)[0]), "a traced model")


def _check_converted(trial: Trial, convert: Callable[[nn.Module], Any], name: str) -> None:
    expected = trial.explain()
    credit = _explain_unless_refused(trial, lambda: SimilarityWrapper(convert(Encoder().eval())), name)
    if credit is not None:
        trial.assert_same(credit, expected, f"for {name}")
