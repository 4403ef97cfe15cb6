"""The tail of a network after one of its layers, cut out of its `torch.fx` graph."""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from captum_pairwise.network.thread_hooks import TRACING, make_thread_filter

BATCH_NORMS, CONVOLUTIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), (nn.Conv1d, nn.Conv2d, nn.Conv3d)
AVERAGE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
AFFINE_MODULES = (*BATCH_NORMS, *AVERAGE_POOLS, *CONVOLUTIONS, nn.Dropout, nn.Flatten, nn.Identity, nn.Linear)
POOLING_FUNCTIONS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.avg_pool2d)
AFFINE_FUNCTIONS = (*POOLING_FUNCTIONS, torch.flatten, torch.mean, torch.squeeze, operator.add, torch.add)
AFFINE_METHODS = ("contiguous", "flatten", "mean", "squeeze")
ASSIGNMENTS = ("setitem", "iadd", "isub", "imul", "itruediv")
SCALINGS = (F.normalize, operator.truediv, operator.mul, torch.div, torch.mul, "div", "mul")  # by a norm or its inverse, perhaps

Packer = Callable[[Tensor, int], object]


@dataclass(frozen=True)
class Tail:
    """The part of an encoder after a layer.

    Attributes:
        run: `(outputs [rows, ...], example) -> encoder output [rows, ...]`: the encoder's output for image `example` of the batch if the
            layer's output is replaced.
        is_affine: True if `run` is an affine function of `outputs`.
        reruns: True if `run` runs the encoder again with the layer's output replaced, because the encoder cannot be split.
        reruns_prefix: True if the modules before the layer run again, too.
        shorter: the same tail without its last step, its last two steps, and so on, as far as each multiplies, divides or normalises.
    """

    run: Callable[[Tensor, int], object]
    is_affine: bool = False
    reruns: bool = False
    reruns_prefix: bool = False
    shorter: tuple["Tail", ...] = ()


class _LayerTracer(fx.Tracer):
    """Traces a network with one layer as a leaf. It does not call hooks of users, because they would get proxies in place of tensors.

    `torch.fx` replaces methods of `nn.Module` itself. Calls from other threads meanwhile run as usual.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.is_ours = layer, make_thread_filter()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self.layer or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One node of the graph for a leaf, the nodes of its forward for another module."""
        return super().call_module(m, m.forward, args, kwargs) if self.is_ours(None) else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """The attribute of a module, as a proxy if it is a parameter."""
        return super().getattr(attr, attr_val, parameter_proxy_cache) if self.is_ours(None) else attr_val


@contextmanager
def _lock_tracing(module: nn.Module) -> Iterator[None]:
    """Hold the lock of tracing; at the end, restore the attributes of all modules, where tracing leaves proxies and tensor constants.

    Proxies in dictionaries, such as a cache of position biases, go as well: another trace would read them.
    """
    with TRACING:
        before = {part: vars(part).copy() for part in module.modules()}
        tables = [(table, table.copy()) for fields in before.values() for table in fields.values() if type(table) is dict]
        try:
            yield
        finally:
            for part, fields in before.items():
                for name in {*vars(part)} - {"forward", *fields}:  # another thread may replace `forward`
                    delattr(part, name)
                vars(part).update({name: value for name, value in fields.items() if isinstance(vars(part).get(name), fx.Proxy)})
            for table, entries in tables:
                for key in [key for key, value in table.items() if isinstance(value, fx.Proxy)]:
                    table.pop(key)
                    table.update({key: entries[key]} if key in entries else {})


def _trace(module: nn.Module, layer: nn.Module) -> fx.Graph | None:
    """The graph of a module as a function of its first argument, or None if `torch.fx` cannot follow its control flow."""
    try:
        optional = list(inspect.signature(module.forward).parameters.values())[1:]  # fails for TorchScript
        defaults = {parameter.name: parameter.default for parameter in optional if parameter.default is not parameter.empty}
        return _LayerTracer(layer).trace(module, defaults)
    except Exception:  # tracing runs the model's own Python on proxies, which may raise anything
        return None


def is_affine(module: nn.Module) -> bool:
    """True if every step of a module is one of the known affine steps."""
    if _is_affine_module(module):
        return True
    with _lock_tracing(module):
        graph = _trace(module, module)
    return graph is not None and all(_is_affine_step(module, node) for node in graph.nodes)


def _is_affine_module(module: nn.Module) -> bool:
    """True for exactly the known classes as they are: a subclass, a hook or a replaced `forward` may do something else."""
    uses_batch_statistics = isinstance(module, BATCH_NORMS) and module.running_mean is None
    is_changed = "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
    return type(module) in AFFINE_MODULES and not uses_batch_statistics and not is_changed


def _is_affine_step(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return _is_affine_module(root.get_submodule(str(node.target)))
    affine = {"call_function": AFFINE_FUNCTIONS, "call_method": AFFINE_METHODS}
    return node.op in ("placeholder", "output") or node.target in affine.get(node.op, ())


def trace_tail(encoder: nn.Module, layer: nn.Module, images: Tensor, pack: Packer) -> Tail | None:
    """The nodes of the encoder's graph that depend on the layer, or None if the graph cannot be split there.

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        pack: `(outputs [rows, ...], example) -> container`, the outputs as the layer would return them, see `make_packer`.
    """
    with _lock_tracing(encoder):
        graph = _trace(encoder, layer)
        if graph is None:
            return None
        tails = takewhile(bool, (_split(encoder, layer, images, graph, pack, final) for final in _find_finals(graph)))
        whole, *shorter = [tail for tail in tails if tail is not None] or [None]
        return whole and replace(whole, shorter=tuple(shorter))


def _find_finals(graph: fx.Graph) -> list[fx.Node]:
    """The node of the output, and the inputs of the last steps that scale, from the last to the first."""
    final = next(node for node in graph.nodes if node.op == "output").args[0]
    finals = []
    while isinstance(final, fx.Node):
        finals.append(final)
        is_scaling = final.op != "call_module" and final.target in SCALINGS
        final = final.args[0] if is_scaling else None
    return finals


def _split(encoder: nn.Module, layer: nn.Module, images: Tensor, graph: fx.Graph, pack: Packer, final: fx.Node) -> Tail | None:
    cuts = [node for node in graph.nodes if node.op == "call_module" and encoder.get_submodule(str(node.target)) is layer]
    if len(cuts) != 1:
        return None
    tail_nodes = _collect(cuts[0].users, lambda node: node.users)
    inputs = [node for node in graph.nodes if node.op == "placeholder"][:1]
    if final not in tail_nodes:
        return None
    used = _collect([final], lambda node: node.all_input_nodes)
    if any(node not in used and _works_in_place(encoder, node) for node in graph.nodes):
        return None  # the graph does not say that such a step precedes the next use of the tensor that it changes
    # other inputs of the tail, such as a residual branch around the layer
    from_images = _collect(inputs, lambda node: node.users) - tail_nodes - {*cuts}
    sides = [node for node in graph.nodes if node in from_images and not tail_nodes.isdisjoint(node.users)]
    tail = _extract(encoder, graph, [*cuts, *sides], [final])
    side_values = _extract(encoder, graph, inputs, sides)(images) if sides else ()
    if not all(isinstance(value, Tensor) and value.dim() and len(value) == len(images) for value in side_values):
        return None

    def run_tail(outputs: Tensor, example: int) -> object:
        rows = (value[example : example + 1].expand(len(outputs), *value.shape[1:]) for value in side_values)
        return tail(pack(outputs.clone(), example), *rows)[0]  # a copy, because a step may work in place

    return Tail(run_tail, is_affine=not sides and all(_is_affine_step(encoder, node) for node in tail_nodes & used))


def _works_in_place(root: nn.Module, node: fx.Node) -> bool:
    """True if a step may change its input: `x.add_(y)`, `x[i] = y`, `x += y`, `relu(x, inplace=True)`."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.endswith("_") or name in ASSIGNMENTS or bool(node.kwargs.get("inplace"))


def _collect(starts: Iterable[fx.Node], step: Callable[[fx.Node], Iterable[fx.Node]], stops: Sequence[fx.Node] = ()) -> set[fx.Node]:
    """All nodes that `step` reaches from `starts`, including `starts`. The search stops before `stops`."""
    nodes: set[fx.Node] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        if node not in nodes and node not in stops:
            nodes.add(node)
            pending.extend(step(node))
    return nodes


class _GraphRunner(fx.Interpreter):
    """Runs a graph step by step. It replaces `fx.GraphModule`, which writes a program for each graph and never frees it."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.extra_traceback = False  # let exceptions of the network pass unchanged
        targets = {str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")}
        self.attributes = dict(zip(targets, map(super().fetch_attr, targets), strict=True))

    def fetch_attr(self, target: str) -> object:
        """A submodule, or a constant that tracing put on the module, as of the time of tracing."""
        return self.attributes[target]


def _extract(root: nn.Module, graph: fx.Graph, inputs: Sequence[fx.Node], results: Sequence[fx.Node]) -> Callable[..., tuple[Any, ...]]:
    """The part of a graph between `inputs` and `results`, as a function that runs the same submodules."""
    part, nodes = fx.Graph(), _collect(results, lambda node: node.all_input_nodes, inputs)
    copies = {node: part.placeholder(node.name) for node in inputs}
    for node in graph.nodes:
        if node in nodes:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in results))
    return _GraphRunner(root, part).run
