"""Bottlenecks against all paths of random graphs, walked one by one."""

from collections.abc import Iterator

import pytest
import torch
from conftest import random_tensor, seeded
from torch.autograd.graph import get_gradient_edge

from captum_pairwise.explanations.bottlenecks import Bottlenecks

N_STEPS = 9


def walk_paths(node: object, first: object) -> Iterator[list[tuple[object, int]]]:
    """Every path down to the input, as the outputs that it passes."""
    if node is first:
        yield []
        return
    for child, number in node.next_functions:
        if child is not None:
            yield from ([(child, number), *rest] for rest in walk_paths(child, first))


@pytest.mark.parametrize("seed", range(8))
def test_bottlenecks_are_the_outputs_that_every_path_passes(seed: int) -> None:
    generator, inputs = seeded(seed), random_tensor(4).requires_grad_()
    tensors = [inputs]
    for _ in range(N_STEPS):
        operands = torch.randint(max(0, len(tensors) - 3), len(tensors), (2,), generator=generator).tolist()
        halves = tensors[operands[0]].repeat(2).chunk(2)  # a node with two outputs
        tensors += [halves[0], halves[0].exp() + tensors[operands[1]] if operands[0] != operands[1] else halves[0].sin()]
    total = tensors[-1].sum()
    paths = list(walk_paths(total.grad_fn, get_gradient_edge(inputs).node))
    bottlenecks = Bottlenecks(inputs, total)
    edges = [get_gradient_edge(tensor) for tensor in tensors]
    expected = [bool(paths) and all((edge.node, edge.output_nr) in path for path in paths) for edge in edges]
    assert [edge in bottlenecks for edge in edges] == expected
    assert any(expected) and not all(expected)


def test_one_of_two_outputs_of_a_step_is_no_bottleneck_if_both_are_used() -> None:
    inputs = random_tensor(4).requires_grad_()
    left, right = inputs.exp().chunk(2)
    assert get_gradient_edge(left) not in Bottlenecks(inputs, (left + right).sum())
    assert get_gradient_edge(left) in Bottlenecks(inputs, left.sum())


def test_nothing_is_a_bottleneck_of_an_output_that_the_input_does_not_reach() -> None:
    inputs, other = (random_tensor(4, seed=seed).requires_grad_() for seed in range(2))
    assert get_gradient_edge(other) not in Bottlenecks(inputs, other.sum())
