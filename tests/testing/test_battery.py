"""Every public method passes the battery, and the battery detects faulty methods."""

import re
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from battery_page import format_counts, format_legend, format_matrix
from captum.attr import PerturbationAttribution
from conftest import LONG
from own_methods import check_own_class, list_own_classes
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.testing import CHECKS, CheckFailed, check_method
from captum_pairwise.testing.battery import EXEMPT, PASSES
from captum_pairwise.testing.tiny_model import images
from captum_pairwise.testing.trial import Trial

PAGE = Path(__file__).parents[2] / "tutorials" / "trust" / "battery.md"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*jit.*is deprecated")]


@pytest.mark.parametrize("cls", list_own_classes(), ids=lambda cls: cls.__name__)
def test_every_public_method_passes(cls, process):
    report = process.submit(check_own_class, cls, thorough=LONG).result()
    assert len(report.outcomes) == len(CHECKS)
    assert not report.failures, str(report)
    assert all(outcome.message for outcome in report.outcomes if outcome.status == EXEMPT)
    assert parse_page_row(cls.__name__) == [
        (outcome.check, outcome.status, outcome.message) for outcome in report.outcomes if outcome.check != "other device"
    ], "run `python tests/battery_page.py > tutorials/trust/battery.md`"


def parse_page_row(method: str) -> list[tuple[str, str, str]]:
    """Check, status and reason of each cell of a method's row, without the check of another device, which some machines lack."""
    text = PAGE.read_text()
    reasons = dict(re.findall(r"^\* ([a-z]+): (.*)$", text, re.M))
    checks = re.findall(r"^\d+\. \*\*(.*?)\*\*: .+$", text, re.M)
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{method}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")[1:]]
    pairs = zip(checks, cells, strict=True)
    return [(name, PASSES if cell == "✓" else EXEMPT, reasons.get(cell, "")) for name, cell in pairs if name != "other device"]


def test_the_page_lists_all_checks_and_methods():
    text, methods = PAGE.read_text(), [cls.__name__ for cls in list_own_classes()]
    assert text.startswith(format_legend()) and f"\n{len(CHECKS)} checks × {len(methods)} methods: " in text
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == methods


class Occlusion(PerturbationAttribution):
    """The fall of the similarity without each player: no Shapley value, but it has the other properties. Subclasses add one fault."""

    def __init__(self, model: cp.SimilarityWrapper) -> None:
        super().__init__(model)

    def layer_outputs(self, inputs: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [tower.layer(image) for tower, image in zip(self.towers(), inputs, strict=True)]

    def towers(self):
        return self.forward_func.query_encoder, self.forward_func.retrieved_encoder

    def scores(self, outputs: list[Tensor]) -> Tensor:
        return self.forward_func.head.score(*(tower.tail(output) for tower, output in zip(self.towers(), outputs, strict=True)))

    @torch.no_grad()
    def attribute(self, inputs, layer_mask):
        self.forward_func(*inputs[:1] * 2)  # a forward pass updates the second tower
        outputs = self.layer_outputs(inputs)
        return tuple(self.credit_side(outputs, side, layer_mask[side]) for side in range(2))

    def credit_side(self, outputs: list[Tensor], side: int, mask: Tensor) -> Tensor:
        score, credit = self.scores(outputs), []
        for player in range(int(mask.max()) + 1):
            masked = list(outputs)
            masked[side] = outputs[side] * (mask != player)
            credit.append(score - self.scores(masked))
        return torch.stack(credit, 1)[:, None]


check = partial(check_method, order=1, players="layer_mask", chunk=None)


def fail_check(cls, name):
    """The message of a check that must fail."""
    with pytest.raises(CheckFailed) as failed:
        check(cls, checks=[name])
    return str(failed.value)


PROMISED = [name for name in CHECKS if name not in ("completeness", "scripted model", "traced model", "compiled model")]


def test_a_correct_user_method_passes():
    exempt = {"completeness": "it does not sum to anything", "train mode": "it does not look at modes"}
    report = check(Occlusion, checks=PROMISED, exempt=exempt)
    assert not report.failures and {outcome.check for outcome in report.outcomes} == set(PROMISED)


class BatchMean(Occlusion):
    """Uses the mean score of the batch instead of the score of each pair."""

    def scores(self, outputs):
        return super().scores(outputs).mean().expand(len(outputs[0]))


class HookLeft(Occlusion):
    """Removes its hooks, but not if the network fails."""

    def layer_outputs(self, inputs):
        outputs = []
        layers = {tower.layer for tower in self.towers()}
        hooks = [layer.register_forward_hook(lambda *called: outputs.append(called[-1])) for layer in layers]
        for tower, image in zip(self.towers(), inputs, strict=True):
            tower(image)
        for hook in hooks:
            hook.remove()
        return outputs


class Overwriting(Occlusion):
    """Runs both images through one module, and uses only the last output."""

    def layer_outputs(self, inputs):
        outputs = {}
        layer = self.forward_func.query_encoder.layer
        hook = layer.register_forward_hook(lambda module, _, output: outputs.update({module: output}))
        try:
            for image in inputs:
                layer(image)
        finally:
            hook.remove()
        return [outputs[layer]] * 2


class GlobalDraws(Occlusion):
    """Draws from the global random state."""

    def credit_side(self, outputs, side, mask):
        return super().credit_side(outputs, side, mask) + torch.rand(1) * 1e-3


class Attached(Occlusion):
    """Returns results inside a graph."""

    def credit_side(self, outputs, side, mask):
        with torch.enable_grad():
            return super().credit_side(outputs, side, mask).requires_grad_()


class Leaking(Occlusion):
    """Stores every output that it has seen."""

    seen: ClassVar[list[Tensor]] = []

    def credit_side(self, outputs, side, mask):
        self.seen.append(outputs[side].clone())
        return super().credit_side(outputs, side, mask)


class OnDefaults(Occlusion):
    """Makes a tensor on the default device, in the default dtype."""

    def credit_side(self, outputs, side, mask):
        return super().credit_side(outputs, side, mask) + torch.ones(1) / 3


class FirstPlayerBonus(Occlusion):
    """Gives the first player more credit."""

    def credit_side(self, outputs, side, mask):
        credit = super().credit_side(outputs, side, mask)
        credit[..., 0] += 0.1
        return credit


class GradientLeft(Occlusion):
    """Leaves a gradient in a parameter that had none."""

    def layer_outputs(self, inputs):
        parameter = self.forward_func.query_encoder.layer[0].bias
        with torch.enable_grad():
            parameter.sum().backward()
        return super().layer_outputs(inputs)


class ByMemory(Occlusion):
    """Reads images as they lie in memory: right for contiguous ones, and for others where the channels do not come last."""

    def layer_outputs(self, inputs):
        lying = (image.permute(0, 2, 3, 1).reshape(image.shape) if image.stride(1) == 1 else image for image in inputs)
        return super().layer_outputs(tuple(lying))


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        (GradientLeft, "after success", r"changed query_encoder\.layer\.0\.bias\.grad"),
        (ByMemory, "strided images", "channels-last"),
        (BatchMean, "batch is its pairs", "one by one"),
        (HookLeft, "after every failure", "hooks of"),
        (HookLeft, "after interrupts", "hooks of"),
        (Overwriting, "swapped images", "swapped"),
        (GlobalDraws, "seeded draws", "random state"),
        (Attached, "plain results", "attached to a graph"),
        (Leaking, "no growth", "tensors after .* left behind"),
        (OnDefaults, "default device", "meta"),
        (OnDefaults, "default dtype", r"default torch\.float64"),
        (FirstPlayerBonus, "renamed players", "other ids"),
        (FirstPlayerBonus, "dummy players", "ignores"),
        (FirstPlayerBonus, "linear credit", "weighted sum"),
    ],
)
def test_a_faulty_method_fails(cls, name, message):
    assert re.search(message, fail_check(cls, name))


def test_a_hook_that_only_a_failure_leaves_behind_passes_after_success():
    assert not check(HookLeft, checks=["after success"]).failures


def test_a_method_that_raises_an_error_fails():
    report = check_method(cp.LayerSAM, order=1, checks=["plain results"], raise_failures=False)
    assert "TypeError" in report.failures[0].message and "fails" in str(report)


@pytest.mark.parametrize(("arguments", "message"), [({"order": 3}, "order 1"), ({"order": 1, "checks": ["tea"]}, "'tea'.*names are: ren")])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_method(cp.SBSM, **arguments)


class PairProducts(PerturbationAttribution):
    """Products of the images' cell means, as pairs of single cells, `[B, n, m]` or `[B, h, w, h', w']`."""

    def __init__(self, model, shape):
        super().__init__(model)
        self.shape = shape

    def attribute(self, inputs):
        query, retrieved = (image.mean(1).unflatten(1, (3, 4)).unflatten(3, (3, 4)).mean((2, 4)).flatten(1) for image in inputs)
        return (query[:, :, None] * retrieved[:, None, :6]).reshape(-1, *self.shape)


@pytest.mark.parametrize("shape", [(9, 6), (3, 3, 2, 3)])
def test_pairs_of_a_method_without_masks_are_read_in_order(shape):
    trial = Trial(lambda model: PairProducts(model, shape), order=2, players=None)
    (credit,) = trial.explain(pair=images(1))
    flat = PairProducts(trial.model(), (9, 6)).attribute(images(1))
    assert torch.equal(credit, flat)


def test_the_matrix_has_a_cell_for_every_check():
    reports = {"Occlusion": check(Occlusion, exempt={"completeness": "no sum"}, raise_failures=False)}
    rows = format_matrix(reports).splitlines()
    assert rows[2].count("|") == len(CHECKS) + 2 and "no sum" in format_matrix(reports)
    assert format_counts(reports).startswith(f"{len(CHECKS)} checks × 1 methods")
