"""Checks that the model leaves as it came: after success, after a failure of every forward pass, after Ctrl-C."""

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.test_model import images
from captum_pairwise.testing.trial import Trial, expect

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
MOST_FAILURES = 12  # forward passes that are made to fail, one a call; all of them in a thorough run


class Failure(Exception):
    """What the battery's own network raises."""


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All of a model that a call may not change, by name, and the random state."""
    seen: dict[str, Any] = {"random state": torch.random.get_rng_state().tolist(), "grad mode": torch.is_grad_enabled()}
    for name, module in model.named_modules():
        seen[f"mode of {name}"] = module.training
        seen[f"hooks of {name}"] = [list(vars(module)[kind]) for kind in HOOKS]
        seen[f"attributes of {name}"] = sorted(set(vars(module)) - {"_retrieved"})
    for name, parameter in model.named_parameters():
        seen[f"{name}.requires_grad"] = parameter.requires_grad
        seen[f"{name}.grad"] = None if parameter.grad is None else parameter.grad.tolist()
        seen[name] = parameter.tolist()
    return seen


def _assert_unchanged(model: nn.Module, before: dict[str, Any], after_what: str) -> None:
    now = snapshot(model)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    expect(not changed, f"after {after_what} the model is not as it came: {', '.join(changed[:3])}.")


def _used(trial: Trial) -> SimilarityWrapper:
    """A model with something of everything: hooks, gradients, a frozen parameter, modules in other modes."""
    model = trial.model()
    model(*images())
    encoder: Any = model.query_encoder
    encoder.layer[0].weight.requires_grad_(False)
    encoder.layer[2].weight.grad = torch.ones_like(encoder.layer[2].weight)
    encoder.layer[1].train()
    model(*images())  # the twin follows at the next forward pass
    return model


def after_success(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are as before after a call."""
    model = _used(trial)
    before = snapshot(model)
    trial.explain(model)
    _assert_unchanged(model, before, "a call")


def after_every_failure(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are as before after an exception in any forward pass, which comes out as it was raised."""
    model = _used(trial)
    failing = _Failing(trial, model)
    for number in failing.chosen(failing.count()):
        failing.run(number, Failure("the network's own"), snapshot(model))
    failing.remove()
    trial.assert_same(trial.explain(model), failing.expected, "after forward passes that failed")


def after_interrupts(trial: Trial) -> None:
    """Hooks, modes, gradients and parameters are as before after Ctrl-C, and the next call gives what the first would have."""
    model = _used(trial)
    failing = _Failing(trial, model)
    for number in failing.chosen(failing.count()):
        failing.run(number, KeyboardInterrupt(), snapshot(model))
    failing.remove()
    trial.assert_same(trial.explain(model), failing.expected, "after Ctrl-C")


class _Failing:
    """Hooks on the first module of the layer in both towers, and where the method takes it on the tail, that count and raise."""

    def __init__(self, trial: Trial, model: SimilarityWrapper) -> None:
        self.trial, self.model, self.expected = trial, model, trial.explain()
        self.passes, self.fails_at, self.error = 0, 0, BaseException()
        self.handles = self._hook("layer") + self._hook("tail")
        try:
            trial.explain(model)
        except ValueError:  # a tail with hooks is not known to be linear
            self.remove()
            self.handles = self._hook("layer")

    def _hook(self, part: str) -> list[RemovableHandle]:
        towers = (self.model.query_encoder, self.model.retrieved_encoder)
        modules = [list(tower.get_submodule(part).children())[-1 if part == "tail" else 0] for tower in towers]
        return [module.register_forward_hook(self._fire) for module in modules]

    def _fire(self, *_: object) -> None:
        self.passes += 1
        if self.passes == self.fails_at:
            raise self.error

    def count(self) -> int:
        """How often the hooks fire in one call."""
        self.passes, self.fails_at = 0, 0
        self.trial.explain(self.model, **self._small_chunks())
        return self.passes

    def chosen(self, n_passes: int) -> list[int]:
        """The passes that are made to fail, spread over the call."""
        if self.trial.thorough:
            return list(range(1, n_passes + 1))
        return sorted({1 + round(k * (n_passes - 1) / (MOST_FAILURES - 1)) for k in range(MOST_FAILURES)})

    def run(self, number: int, error: BaseException, before: dict[str, Any]) -> None:
        """Call the method while this pass fails, and look at what is left."""
        self.passes, self.fails_at, self.error = 0, number, error
        try:
            found = self.trial.explain(self.model, **self._small_chunks())
        except type(error) as raised:
            expect(raised is error or raised.__cause__ is error, "another exception than the network's own came out.")
        else:  # a pass that only tries the network out
            self.trial.assert_same(found, self.expected, f"after a failure of forward pass {number} that did not come out")
        finally:
            self.fails_at = 0
        _assert_unchanged(self.model, before, f"{type(error).__name__} in forward pass {number}")

    def _small_chunks(self) -> dict[str, Any]:
        return {self.trial.chunk: 4} if self.trial.chunk else {}

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self.handles:
            handle.remove()


CHECKS = (after_success, after_every_failure, after_interrupts)
