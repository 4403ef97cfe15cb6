"""Bottlenecks of a network: outputs of layers that every path from its input to its output passes, in the graph of the gradients."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

Node = Any  # of the graph: torch.autograd.graph.Node


class Bottlenecks:
    r"""The outputs that all paths from an input to an output pass, found by the numbers of paths.

    With $p(a, b)$ the number of paths from $a$ to $b$, all paths pass $c$ if and only if
    $p(\text{input}, c) \, p(c, \text{output}) = p(\text{input}, \text{output})$. Each edge of the graph is visited once.

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> branch = x.exp()
    >>> total = branch + x
    >>> bottlenecks = Bottlenecks(x, total.sum())
    >>> get_gradient_edge(branch) in bottlenecks, get_gradient_edge(total) in bottlenecks
    (False, True)

    Args:
        inputs: a tensor that requires gradients and was not computed from others.
        output: a tensor that was computed with gradients.
    """

    def __init__(self, inputs: Tensor, output: Tensor) -> None:
        first, last = get_gradient_edge(inputs).node, get_gradient_edge(output).node
        nodes = _sort_nodes(last)
        self._to_input: Counter[Node] = Counter({first: 1})
        for node in reversed(nodes):
            self._to_input[node] += sum(self._to_input[child] for child, _ in _list_children(node))
        self._from_output: Counter[tuple[Node, int]] = Counter({(last, 0): 1})
        reached: Counter[Node] = Counter({last: 1})
        for node in nodes:
            for child, number in _list_children(node):
                self._from_output[child, number] += reached[node]
                reached[child] += reached[node]
        self._n_paths = self._to_input[last]

    def __contains__(self, edge: GradientEdge) -> bool:
        n_paths = self._from_output[edge.node, edge.output_nr] * self._to_input[edge.node]
        return 0 < n_paths == self._n_paths


def _list_children(node: Node) -> Iterator[tuple[Node, int]]:
    """The nodes whose outputs a node takes, with the numbers of these outputs."""
    return ((child, number) for child, number in node.next_functions if child is not None)


def _sort_nodes(last: Node) -> list[Node]:
    """The nodes below `last`, each before those whose outputs it takes."""
    finished: dict[Node, None] = {}
    started = {last}
    stack = [(last, _list_children(last))]
    while stack:
        node, children = stack[-1]
        child = next((child for child, _ in children if child not in started), None)
        if child is None:
            finished[node] = None
            stack.pop()
        else:
            started.add(child)
            stack.append((child, _list_children(child)))
    return list(reversed(finished))
