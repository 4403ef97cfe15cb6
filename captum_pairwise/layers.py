"""Look into a network at one layer: record its output, replace it, or run only the tail that comes after it."""

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

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


Layers: TypeAlias = nn.Module | Sequence[nn.Module]


def layers_of(layer: Layers) -> list[nn.Module]:
    """The one layer, or the two (query's, retrieved's), that a user named.

    Raises:
        ValueError: there are more, or none.
    """
    layers = [layer] if isinstance(layer, nn.Module) else list(layer)
    if len(layers) not in (1, 2):
        raise ValueError(f"Expected one layer, or a pair (query layer, retrieved layer), got {len(layers)} of them.")
    return layers


class SplitEncoder(nn.Module):
    """An encoder whose two parts are known, `tail(features(images))`.

    Layer methods given `encoder.features` run only `tail` for each coalition, whether or not the parts can be traced.

    Args:
        features: maps images to the layer's output.
        tail: maps the layer's output to embeddings or to a map.
    """

    def __init__(self, features: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, images: Tensor) -> Tensor:
        """Encode a batch."""
        return self.tail(self.features(images))


@dataclass(frozen=True)
class LayerView:
    """An encoder seen from one layer, for a batch of images.

    Attributes:
        output: the layer's output `[batch, ...]`.
        run_tail: `(outputs [rows, ...], example) -> encoder output [rows, ...]`: what the encoder returns for image `example` of
            the batch when the layer's output is replaced.
        is_affine: whether `run_tail` is an affine function of `outputs`.
        reruns: whether `run_tail` runs the whole encoder, for want of a way to split it.
    """

    output: Tensor
    run_tail: Callable[[Tensor, int], object]
    is_affine: bool
    reruns: bool = False


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[list[list[object]]]:
    """Yield a list per layer, to which every call of that layer adds a copy of its output."""
    calls: list[list[object]] = [[] for _ in layers]
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def add_to(outputs: list[object]) -> Callable[..., None]:
        # a copy, because an in-place ReLU may follow
        return lambda _module, _inputs, output: outputs.append(output.clone() if isinstance(output, Tensor) else output)

    try:
        for layer, outputs in zip(layers, calls, strict=True):
            hooks.append(layer.register_forward_hook(add_to(outputs)))
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Make `layer` return `output`, whatever comes in."""
    hook = layer.register_forward_hook(lambda *_: output.clone())
    try:
        yield
    finally:
        hook.remove()


def only_output(calls: list[object], layer: nn.Module) -> Tensor:
    """The output of a layer that ran once and returned a tensor.

    Raises:
        ValueError: the layer did not run, ran more than once, or returned something else.
    """
    name = type(layer).__name__
    if not calls:
        raise ValueError(
            f"Expected the layer ({name}) to run in the forward pass, but it never did. Pass a layer that the encoder calls; hooks on "
            "parts of a compiled or scripted model do not run."
        )
    if len(calls) > 1:
        raise ValueError(
            f"Expected the layer ({name}) to run once in a forward pass, but it ran {len(calls)} times. If one encoder embeds both "
            "images, pass `SimilarityWrapper(encoder)` as the forward function; if the network reuses a module, pick a layer "
            "that it does not reuse."
        )
    output = calls[0]
    if not isinstance(output, Tensor) or output.dim() not in (2, 3, 4):
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"Expected the layer ({name}) to return a tensor [B, C], [B, T, C] or [B, C, H, W], got {came}. Pick a layer that does."
        )
    return output


def refuse_compiled(model: object) -> None:
    """Refuse a model that `torch.compile` took over: it ignores hooks added later.

    Raises:
        ValueError: the model, or a part of it, is compiled.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    if any(hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None for module in modules):
        raise ValueError(
            "Expected a model that is not compiled, because a compiled one ignores the hooks of a layer method. Pass the original "
            "module (`compiled._orig_mod`), which has the same weights."
        )


def record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Run the encoder once for the layer's output.

    Raises:
        ValueError: the layer did not run exactly once, or returned no tensor.
    """
    return _record(encoder, layer, images)[0]


def _record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, object, bool]:
    """The layer's output, the encoder's, and whether the encoder returns the layer's very tensor, unchanged."""
    returned: list[tuple[object, int]] = []
    watch = layer.register_forward_hook(lambda _module, _inputs, output: returned.append((output, _version(output))))
    try:
        with recorded([layer]) as calls:
            final = encoder(images)
    finally:
        watch.remove()
    output = only_output(calls[0], layer)
    unchanged = final is returned[0][0] and isinstance(final, Tensor) and _version(final) == returned[0][1]
    return output, final, unchanged


def _version(output: object) -> int:
    """How often a tensor was changed in place; -1 where nobody counts."""
    return output._version if isinstance(output, Tensor) and not output.is_inference() else -1


def look_inside(encoder: nn.Module, layer: nn.Module, images: Tensor) -> LayerView:
    """See the encoder from `layer`, with the cheapest tail that reproduces it.

    In this order: nothing at all, when the layer's output is the encoder's; the tail of a `SplitEncoder`; the nodes after the layer
    in the encoder's `torch.fx` graph; the whole encoder, with the layer's output replaced.
    """
    # tensors of inference mode do not tell whether they were changed in place
    with_grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):
        output, final, final_is_output = _record(encoder, layer, images)
    if final_is_output:
        return LayerView(output, lambda outputs, _: outputs, is_affine=True)
    if isinstance(encoder, SplitEncoder) and layer is encoder.features:
        return LayerView(output, lambda outputs, _: encoder.tail(outputs.clone()), is_affine=_is_affine(encoder.tail))
    with _new_attributes_removed(encoder):
        traced = _traced_view(encoder, layer, images, output)
    if traced is not None and _reproduces(traced, final):
        return traced
    return LayerView(output, _rerun(encoder, layer, images), is_affine=False, reruns=True)


def _rerun(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Callable[[Tensor, int], object]:
    """Run the whole encoder on one image of the batch, with the layer's output replaced."""

    def run_tail(outputs: Tensor, example: int) -> object:
        with replaced(layer, outputs):
            return encoder(images[example : example + 1].expand(len(outputs), *images.shape[1:]))

    return run_tail


def _reproduces(view: LayerView, final: object) -> bool:
    """Whether the tail gives the encoder's own output, for a batch of another size: a traced graph can hold the size as a constant."""
    if not isinstance(final, Tensor):
        return False
    rows = [0] * (len(final) + 1)
    try:
        again = view.run_tail(view.output[rows], 0)
    except (RuntimeError, TypeError, ValueError):
        return False
    tolerance = torch.finfo(final.dtype).eps ** 0.5 * final.abs().max()
    return isinstance(again, Tensor) and again.shape[1:] == final.shape[1:] and bool((again - final[rows]).abs().max() <= tolerance)


class _LayerTracer(fx.Tracer):
    """Traces a network with one layer kept whole."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m is self.layer or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def _new_attributes_removed(module: nn.Module) -> Iterator[None]:
    """Tracing leaves tensor constants on the module."""
    before = set(vars(module))
    try:
        yield
    finally:
        for name in set(vars(module)) - before:
            delattr(module, name)


def _trace(module: nn.Module, layer: nn.Module) -> fx.Graph | None:
    """The graph of a module of one argument, or None where `torch.fx` cannot follow its control flow."""
    optional = list(inspect.signature(module.forward).parameters.values())[1:]
    defaults = {parameter.name: parameter.default for parameter in optional if parameter.default is not parameter.empty}
    try:
        return _LayerTracer(layer).trace(module, defaults)
    except Exception:  # tracing runs the model's own Python on proxies, which may raise anything
        return None


def _is_affine(module: nn.Module) -> bool:
    """Whether every step of a module is known to be affine."""
    if _is_affine_module(module):
        return True
    with _new_attributes_removed(module):
        graph = _trace(module, module)
    return graph is not None and all(_is_affine_step(module, node) for node in graph.nodes)


def _is_affine_module(module: nn.Module) -> bool:
    is_by_batch = isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None
    return isinstance(module, AFFINE_MODULES) and not is_by_batch


def _is_affine_step(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return _is_affine_module(root.get_submodule(str(node.target)))
    if node.op == "call_function":
        return node.target in AFFINE_FUNCTIONS
    if node.op == "call_method":
        return node.target in AFFINE_METHODS
    return node.op in ("placeholder", "output")


def _traced_view(encoder: nn.Module, layer: nn.Module, images: Tensor, output: Tensor) -> LayerView | None:
    """The view through `torch.fx`: only the nodes that depend on the layer are run for a coalition."""
    graph = _trace(encoder, layer)
    cuts = [node for node in graph.nodes if _calls(node, encoder, layer)] if graph is not None else []
    if graph is None or len(cuts) != 1:
        return None
    after = _depending_on(cuts)
    if any(not node.users and _works_in_place(node) for node in after):
        return None  # a graph does not order such a step before the next use of what it changes
    inputs = [node for node in graph.nodes if node.op == "placeholder"][:1]
    from_images = {*inputs, *_depending_on(inputs)}
    needed = [node for node in graph.nodes if node in after for node in node.all_input_nodes]
    # what the tail needs besides the layer: a residual branch around it, for one
    sides = [node for node in dict.fromkeys(needed) if node not in after and node not in cuts and node in from_images]
    final = next(node for node in graph.nodes if node.op == "output").args[0]
    if not isinstance(final, fx.Node) or final not in after:
        return None
    tail = _subgraph(encoder, graph, [*cuts, *sides], [final])
    side_values = _subgraph(encoder, graph, inputs, sides)(images) if sides else ()
    if not all(isinstance(value, Tensor) and value.dim() and len(value) == len(images) for value in side_values):
        return None

    def run_tail(outputs: Tensor, example: int) -> object:
        rows = (value[example : example + 1].expand(len(outputs), *value.shape[1:]) for value in side_values)
        return tail(outputs.clone(), *rows)[0]  # a copy, because a step may work in place

    return LayerView(output, run_tail, is_affine=not sides and all(_is_affine_step(encoder, node) for node in after))


def _works_in_place(node: fx.Node) -> bool:
    """Whether a step may change its input: a module, `x.add_(y)`, `x[i] = y`, `x += y`."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op == "call_module" or name.endswith("_") or name in ("setitem", *(f"i{step}" for step in ("add", "sub", "mul", "truediv")))


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


def _subgraph(root: nn.Module, graph: fx.Graph, inputs: Sequence[fx.Node], results: Sequence[fx.Node]) -> fx.GraphModule:
    """The part of a graph that leads from `inputs` to `results`, as a module over the same submodules."""
    part = fx.Graph()
    copies = {node: part.placeholder(node.name) for node in inputs}
    needed, pending = set(), list(results)
    while pending:
        node = pending.pop()
        if node not in needed and node not in copies:
            needed.add(node)
            pending.extend(node.all_input_nodes)
    for node in graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in results))
    return fx.GraphModule(root, part)
