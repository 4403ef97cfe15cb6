"""What a network does after one of its layers, by its `torch.fx` graph."""

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from captum_pairwise.network.thread_hooks import TRACING, make_thread_filter

AFFINE_MODULES = (
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Conv2d,
    nn.Dropout,
    nn.Flatten,
    nn.Identity,
    nn.Linear,
)
AFFINE_FUNCTIONS = (F.adaptive_avg_pool2d, F.avg_pool2d, torch.flatten, torch.mean, torch.squeeze, operator.add, torch.add)
AFFINE_METHODS = ("contiguous", "flatten", "mean", "squeeze")

Returns = Callable[[Tensor, int], object]


@dataclass(frozen=True)
class Tail:
    """What comes after a layer.

    Attributes:
        run: `(outputs [rows, ...], example) -> encoder output [rows, ...]`: what the encoder returns for image `example` of the batch when
            the layer's output is replaced.
        is_affine: whether `run` is an affine function of `outputs`.
        reruns: whether `run` runs the encoder again with the layer's output replaced, for want of a way to split it.
        in_vain: whether that includes all that comes before the layer.
    """

    run: Callable[[Tensor, int], object]
    is_affine: bool = False
    reruns: bool = False
    reruns_prefix: bool = False


class _LayerTracer(fx.Tracer):
    """Traces a network with one layer kept whole, and past the hooks of users, who would be called with what is no tensor.

    `torch.fx` replaces methods of `nn.Module` itself: what other threads call meanwhile is run as it is.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.is_ours = layer, make_thread_filter()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self.layer or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A step of the graph for a leaf, the steps of its forward for another module."""
        return super().call_module(m, m.forward, args, kwargs) if self.is_ours(None) else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What a module has under a name."""
        return super().getattr(attr, attr_val, parameter_proxy_cache) if self.is_ours(None) else attr_val


@contextmanager
def _alone(module: nn.Module) -> Iterator[None]:
    """No other thread traces meanwhile; the tensor constants that tracing leaves on the module are removed."""
    with TRACING:
        before = {"forward", *vars(module)}  # which another thread may put there
        try:
            yield
        finally:
            for name in {*vars(module)} - before:
                delattr(module, name)


def _trace(module: nn.Module, layer: nn.Module) -> fx.Graph | None:
    """The graph of a module of one argument, or None where `torch.fx` cannot follow its control flow."""
    try:
        optional = list(inspect.signature(module.forward).parameters.values())[1:]  # TorchScript has none
        defaults = {parameter.name: parameter.default for parameter in optional if parameter.default is not parameter.empty}
        return _LayerTracer(layer).trace(module, defaults)
    except Exception:  # tracing runs the model's own Python on proxies, which may raise anything
        return None


def is_affine(module: nn.Module) -> bool:
    """Whether every step of a module is known to be affine."""
    if _is_affine_module(module):
        return True
    with _alone(module):
        graph = _trace(module, module)
    return graph is not None and all(_is_affine_step(module, node) for node in graph.nodes)


def _is_affine_module(module: nn.Module) -> bool:
    """Whether a module is exactly one of the known ones: a subclass, or a hook, may do something else."""
    is_by_batch = isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None
    return type(module) in AFFINE_MODULES and not is_by_batch and not module._forward_hooks and not module._forward_pre_hooks


def _is_affine_step(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return _is_affine_module(root.get_submodule(str(node.target)))
    if node.op == "call_function":
        return node.target in AFFINE_FUNCTIONS
    if node.op == "call_method":
        return node.target in AFFINE_METHODS
    return node.op in ("placeholder", "output")


def traced_tail(encoder: nn.Module, layer: nn.Module, images: Tensor, returns: Returns) -> Tail | None:
    """The nodes of the encoder's graph that depend on the layer, or None where they cannot be told apart.

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        returns: what the layer returns when its output is replaced, `(outputs [rows, ...], example) -> outputs` or a tuple with them.
    """
    with _alone(encoder):
        return _cut(encoder, layer, images, _trace(encoder, layer), returns)


def _cut(encoder: nn.Module, layer: nn.Module, images: Tensor, graph: fx.Graph | None, returns: Returns) -> Tail | None:
    cuts = [node for node in graph.nodes if _calls(node, encoder, layer)] if graph is not None else []
    if graph is None or len(cuts) != 1:
        return None
    after = _depending_on(cuts)
    inputs = [node for node in graph.nodes if node.op == "placeholder"][:1]
    from_images = {*inputs, *_depending_on(inputs)}
    needed = [node for node in graph.nodes if node in after for node in node.all_input_nodes]
    # what the tail needs besides the layer: a residual branch around it, for one
    sides = [node for node in dict.fromkeys(needed) if node not in after and node not in cuts and node in from_images]
    final = next(node for node in graph.nodes if node.op == "output").args[0]
    if not isinstance(final, fx.Node) or final not in after:
        return None
    used = _leading_to([final])
    if any(node not in used and _works_in_place(encoder, node) for node in graph.nodes):
        return None  # nothing in the graph says that such a step comes before the next use of what it changes
    tail = _subgraph(encoder, graph, [*cuts, *sides], [final])
    side_values = _subgraph(encoder, graph, inputs, sides)(images) if sides else ()
    if not all(isinstance(value, Tensor) and value.dim() and len(value) == len(images) for value in side_values):
        return None

    def run_tail(outputs: Tensor, example: int) -> object:
        rows = (value[example : example + 1].expand(len(outputs), *value.shape[1:]) for value in side_values)
        return tail(returns(outputs.clone(), example), *rows)[0]  # a copy, because a step may work in place

    return Tail(run_tail, is_affine=not sides and all(_is_affine_step(encoder, node) for node in after))


def _works_in_place(root: nn.Module, node: fx.Node) -> bool:
    """Whether a step may change its input: `x.add_(y)`, `x[i] = y`, `x += y`, `relu(x, inplace=True)`."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_assignment = name in ("setitem", *(f"i{step}" for step in ("add", "sub", "mul", "truediv")))
    return name.endswith("_") or is_assignment or bool(node.kwargs.get("inplace"))


def _calls(node: fx.Node, root: nn.Module, layer: nn.Module) -> bool:
    return node.op == "call_module" and root.get_submodule(str(node.target)) is layer


def _depending_on(sources: Sequence[fx.Node]) -> set[fx.Node]:
    """All nodes that use one of the sources, directly or not."""
    found: set[fx.Node] = set()
    pending = [user for node in sources for user in node.users]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(node.users)
    return found


def _leading_to(results: Sequence[fx.Node], inputs: Sequence[fx.Node] = ()) -> set[fx.Node]:
    """The results, and all nodes that they use, back to the inputs."""
    found: set[fx.Node] = set()
    pending = list(results)
    while pending:
        node = pending.pop()
        if node not in found and node not in inputs:
            found.add(node)
            pending.extend(node.all_input_nodes)
    return found


class _Steps(fx.Interpreter):
    """Runs a graph step by step; `fx.GraphModule`, which writes a program for it, keeps each program for good."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.extra_traceback = False  # a network's exception comes out as it was raised
        self.attributes: dict[Any, object] = {}
        for node in graph.nodes:
            if node.op in ("get_attr", "call_module"):
                self.attributes[node.target] = super().fetch_attr(str(node.target))

    def fetch_attr(self, target: str) -> object:
        """What the module had under a name when it was traced: a part of it, or a constant that tracing put there."""
        return self.attributes[target]


def _subgraph(root: nn.Module, graph: fx.Graph, inputs: Sequence[fx.Node], results: Sequence[fx.Node]) -> Callable[..., tuple[Any, ...]]:
    """The part of a graph that leads from `inputs` to `results`, as a function that runs the same submodules."""
    part, needed = fx.Graph(), _leading_to(results, inputs)
    copies = {node: part.placeholder(node.name) for node in inputs}
    for node in graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in results))
    return _Steps(root, part).run
