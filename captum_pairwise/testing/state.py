"""Checks that a call leaves the model unchanged: after success, after a failure in any forward pass, after Ctrl-C."""

from math import ceil
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.tiny_model import images
from captum_pairwise.testing.trial import Trial, expect

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
MAX_FAILURES = 12  # forward passes that fail, one in each call, and the first; in a thorough run every pass fails


class NetworkError(Exception):
    """The error that the battery raises in a forward pass."""


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything in a model that a call must not change, and the global random state, by name."""
    state: dict[str, Any] = {"random state": torch.random.get_rng_state().tolist(), "grad mode": torch.is_grad_enabled()}
    for name, module in model.named_modules():
        state[f"mode of {name}"] = module.training
        state[f"hooks of {name}"] = [list(vars(module)[kind]) for kind in HOOKS]
        state[f"attributes of {name}"] = sorted(set(vars(module)) - {"_retrieved"})
    for name, parameter in model.named_parameters():
        state[f"{name}.requires_grad"] = parameter.requires_grad
        state[f"{name}.grad"] = None if parameter.grad is None else parameter.grad.tolist()
        state[name] = parameter.tolist()
    return state


def _expect_unchanged(model: nn.Module, before: dict[str, Any], event: str) -> None:
    now = snapshot(model)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    expect(not changed, f"Expected an unchanged model after {event}, got changed {', '.join(changed[:3])}.")


def _make_used_model(trial: Trial) -> SimilarityWrapper:
    """A model with a frozen parameter, a gradient, and modules in different modes."""
    model = trial.model()
    model(*images())
    encoder: Any = model.query_encoder
    encoder.layer[0].weight.requires_grad_(False)
    encoder.layer[2].weight.grad = torch.ones_like(encoder.layer[2].weight)
    encoder.layer[1].train()
    model(*images())  # the second tower copies these changes in its next forward pass
    return model


def check_after_success(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are the same after a call."""
    model = _make_used_model(trial)
    before = snapshot(model)
    trial.explain(model)
    _expect_unchanged(model, before, "a call")


def check_after_every_failure(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are the same after an error in any forward pass, and the error is not replaced."""
    _check_interrupted_calls(trial, NetworkError)


def check_after_interrupts(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are the same after Ctrl-C, and the next call gives the same."""
    _check_interrupted_calls(trial, KeyboardInterrupt)


def _check_interrupted_calls(trial: Trial, kind: type[BaseException]) -> None:
    model, expected, hook = _make_used_model(trial), trial.explain(), _PassHook()
    chunk: dict[str, Any] = {trial.chunk: 4} if trial.chunk else {}  # small, for several forward passes
    handles = _hook_towers(trial, model, hook)
    before = snapshot(model)
    hook.restart()
    trial.explain(model, **chunk)
    step = 1 if trial.thorough else max(1, ceil(hook.n_passes / MAX_FAILURES))
    for number in sorted({1, *range(hook.n_passes, 0, -step)}):
        error = kind("raised by the network")
        hook.restart(number, error)
        try:
            credit = trial.explain(model, **chunk)
        except kind as raised:
            expect(raised is error or raised.__cause__ is error, f"Expected the network's own {kind.__name__}, got another.")
        else:  # the method caught the error, because this pass only tests the network
            trial.assert_same(credit, expected, f"after a failure in forward pass {number} that the method caught")
        hook.restart()
        _expect_unchanged(model, before, f"{kind.__name__} in forward pass {number}")
    for handle in handles:
        handle.remove()
    trial.assert_same(trial.explain(model), expected, f"after {kind.__name__}")


class _PassHook:
    """A forward hook that counts the passes of a call, and raises an error in one of them."""

    def __init__(self) -> None:
        self.restart()

    def restart(self, failing_pass: int = 0, error: BaseException | None = None) -> None:
        """Count from 0 again, and raise the error in this pass; 0 means in none."""
        self.n_passes, self._failing_pass, self._error = 0, failing_pass, error

    def __call__(self, *_: object) -> None:
        self.n_passes += 1
        if self._error is not None and self.n_passes == self._failing_pass:
            raise self._error


def _hook_towers(trial: Trial, model: SimilarityWrapper, hook: _PassHook) -> list[RemovableHandle]:
    """Hook the first module of the layer and, if the method accepts it, the last of the tail, in both towers."""
    towers: tuple[Any, Any] = (model.query_encoder, model.retrieved_encoder)
    handles = [tower.layer[0].register_forward_hook(hook) for tower in towers]
    tail_handles = [tower.tail[-1].register_forward_hook(hook) for tower in towers]
    try:
        trial.explain(model)
    except ValueError:  # methods that need a linear tail refuse a tail with hooks
        for handle in tail_handles:
            handle.remove()
        return handles
    return handles + tail_handles
