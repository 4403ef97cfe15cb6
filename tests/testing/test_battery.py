"""Every public method passes the battery, and the battery sees what is wrong with methods that are."""

import re
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from captum.attr import PerturbationAttribution
from conftest import LONG
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.testing import CHECKS, CheckFailed, check_method
from captum_pairwise.testing.__main__ import counts, legend, matrix
from captum_pairwise.testing.battery import EXEMPT, PASSES
from captum_pairwise.testing.own_methods import check_own, own_classes

PAGE = Path(__file__).parents[2] / "tutorials" / "trust" / "battery.md"
pytestmark = [pytest.mark.filterwarnings("ignore:.*jit.*is deprecated")]


@pytest.mark.parametrize("cls", list(own_classes()), ids=lambda cls: cls.__name__)
def test_every_public_method_passes(cls, process):
    report = process.submit(check_own, cls, thorough=LONG).result()
    assert len(report.outcomes) == len(CHECKS)
    assert not report.failures, str(report)
    assert all(outcome.message for outcome in report.outcomes if outcome.status == EXEMPT)
    assert row_on_the_page(cls.__name__) == [
        (outcome.check, outcome.status, outcome.message) for outcome in report.outcomes if outcome.check != "other device"
    ], "run `python -m captum_pairwise.testing > tutorials/trust/battery.md`"


def row_on_the_page(method: str) -> list[tuple[str, str, str]]:
    """What the page says of a method, by check; of another device, which only some machines have, nothing."""
    text = PAGE.read_text()
    reasons = dict(re.findall(r"^\* ([a-z]+): (.*)$", text, re.M))
    checks = re.findall(r"^\d+\. \*\*(.*?)\*\*: .+$", text, re.M)
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{method}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")[1:]]
    found = zip(checks, cells, strict=True)
    return [(name, PASSES if cell == "✓" else EXEMPT, reasons.get(cell, "")) for name, cell in found if name != "other device"]


def test_the_page_has_every_check_and_method_and_no_other():
    text, methods = PAGE.read_text(), [cls.__name__ for cls in own_classes()]
    assert text.startswith(legend()) and f"\n{len(CHECKS)} checks × {len(methods)} methods: " in text
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == methods


class ClosedForm(PerturbationAttribution):
    """First-order SAM of the battery's encoder, written out: correct, and then spoilt in one way each."""

    def __init__(self, model: cp.SimilarityWrapper) -> None:
        super().__init__(model)

    def layer_outputs(self, inputs: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [tower.layer(image) for tower, image in zip(self.towers(), inputs, strict=True)]

    def towers(self):
        return self.forward_func.query_encoder, self.forward_func.retrieved_encoder

    def scores(self, full: list[Tensor]) -> Tensor:
        return self.forward_func.head.score(*(tower.tail(one) for tower, one in zip(self.towers(), full, strict=True)))

    @torch.no_grad()
    def attribute(self, inputs, layer_mask):
        self.forward_func(*inputs[:1] * 2)  # the twin follows
        full = self.layer_outputs(inputs)
        return tuple(self.of_side(full, side, layer_mask[side]) for side in range(2))

    def of_side(self, full: list[Tensor], side: int, mask: Tensor) -> Tensor:
        """How much the similarity falls without each player: no Shapley value, but it has the other properties."""
        whole, credit = self.scores(full), []
        for player in range(int(mask.max()) + 1):
            without = list(full)
            without[side] = full[side] * (mask != player)
            credit.append(whole - self.scores(without))
        return torch.stack(credit, 1)[:, None]


def spoilt(cls, check):
    """What the battery says of a method in one check; `order` and the mask are those of `ClosedForm`."""
    with pytest.raises(CheckFailed) as failed:
        check_method(cls, order=1, players="layer_mask", chunk=None, checks=[check])
    return str(failed.value)


FAIR = [name for name in CHECKS if name not in ("completeness", "scripted model", "traced model", "compiled model")]


def test_a_method_of_one_s_own_passes():
    exempt = {"completeness": "it does not sum to anything", "train mode": "it does not look at modes"}
    report = check_method(ClosedForm, order=1, players="layer_mask", chunk=None, checks=FAIR, exempt=exempt)
    assert not report.failures and {outcome.check for outcome in report.outcomes} == set(FAIR)


def test_a_global_target_is_caught():
    """The score of the batch in place of that of each pair."""

    class GlobalTarget(ClosedForm):
        def scores(self, full):
            return super().scores(full).mean().expand(len(full[0]))

    assert "one by one" in spoilt(GlobalTarget, "batch is its pairs")


def test_a_hook_left_behind_is_caught():
    """A hook that is removed, but not where the network fails."""

    class HookLeft(ClosedForm):
        def layer_outputs(self, inputs):
            outputs = []
            hooks = [tower.layer.register_forward_hook(lambda *called: outputs.append(called[-1])) for tower in self.towers()]
            for tower, image in zip(self.towers(), inputs, strict=True):
                tower(image)
            for hook in hooks:
                hook.remove()
            return outputs

    assert not check_method(HookLeft, order=1, players="layer_mask", chunk=None, checks=["after success"]).failures
    assert "hooks of" in spoilt(HookLeft, "after every failure") and "hooks of" in spoilt(HookLeft, "after interrupts")


def test_a_shared_tower_overwrite_is_caught():
    """One module looks at both images, and what it keeps is the last one's."""

    class Overwritten(ClosedForm):
        def layer_outputs(self, inputs):
            kept = {}
            layer = self.forward_func.query_encoder.layer
            hook = layer.register_forward_hook(lambda module, _, output: kept.update({module: output}))
            try:
                for image in inputs:
                    layer(image)
            finally:
                hook.remove()
            return [kept[layer]] * 2

    assert "swapped" in spoilt(Overwritten, "swapped images")


class Drawing(ClosedForm):
    """Draws from the global random state."""

    def of_side(self, full, side, mask):
        return super().of_side(full, side, mask) + torch.rand(1) * 1e-3


class Attached(ClosedForm):
    """Leaves its results in a graph."""

    def of_side(self, full, side, mask):
        with torch.enable_grad():
            return super().of_side(full, side, mask).requires_grad_()


class Keeping(ClosedForm):
    """Keeps what it has seen."""

    seen: ClassVar[list[Tensor]] = []

    def of_side(self, full, side, mask):
        self.seen.append(full[side].clone())
        return super().of_side(full, side, mask)


class Favouring(ClosedForm):
    """Gives the first player some credit of its own."""

    def of_side(self, full, side, mask):
        credit = super().of_side(full, side, mask)
        credit[..., 0] += 0.1
        return credit


@pytest.mark.parametrize(
    ("cls", "check", "sentence"),
    [
        (Drawing, "seeded draws", "random state"),
        (Attached, "plain results", "attached to a graph"),
        (Keeping, "no growth", "tensors behind"),
        (Favouring, "renamed players", "other ids"),
        (Favouring, "dummy players", "ignores"),
        (Favouring, "linear credit", "weighted sum"),
    ],
)
def test_what_else_is_wrong_is_caught(cls, check, sentence):
    assert sentence in spoilt(cls, check)


def test_a_method_that_fails_is_a_failed_check():
    report = check_method(cp.LayerSAM, order=1, checks=["plain results"], raise_failures=False)
    assert "TypeError" in report.failures[0].message and "fails" in str(report)


@pytest.mark.parametrize(("arguments", "sentence"), [({"order": 3}, "order 1"), ({"order": 1, "checks": ["tea"]}, "'tea'.*There are: ren")])
def test_a_wrong_question_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=f"Expected .*{sentence}"):
        check_method(cp.SBSM, **arguments)


def test_the_matrix_has_a_cell_for_every_check_of_every_method():
    reports = {
        "ClosedForm": check_method(
            ClosedForm, order=1, players="layer_mask", chunk=None, exempt={"completeness": "no sum"}, raise_failures=False
        )
    }
    rows = matrix(reports).splitlines()
    assert rows[2].count("|") == len(CHECKS) + 2 and "no sum" in matrix(reports)
    assert counts(reports).startswith(f"{len(CHECKS)} checks × 1 methods")
