"""A cache of the modules that run before a layer, so that a second run starts at the layer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.network.layer_outputs import clone_tensors, get_first_tensor, make_packer, read_version
from captum_pairwise.network.thread_hooks import make_thread_filter, this_thread_only

# for each module the function `(example, n_rows) -> its output` for `n_rows` copies of one example of the batch
Prefix: TypeAlias = dict[nn.Module, Callable[[int, int], object]]


def record_prefix(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Prefix:
    """The outputs, for a batch, of the layer and of all modules that finish before it; of nested modules only the outermost.

    A module is left out if skipping it could change the result: it runs twice, changes its input in place, has hooks, or keeps something
    of the images. It is also left out if its output has no entry for each example.
    """
    returned: dict[nn.Module, object] = {}
    versions: dict[nn.Module, list[tuple[object, int]]] = {}
    unsafe: set[nn.Module] = set()
    reached: list[bool] = []

    def pre_hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if module in versions:
            unsafe.add(module)
        versions[module] = [(value, read_version(value)) for value in (*args, *kwargs.values())]

    def post_hook(module: nn.Module, _args: object, _kwargs: object, output: object) -> None:
        if any(read_version(value) != version for value, version in versions[module]):
            unsafe.add(module)
        if not reached:
            for part in module.modules():
                returned.pop(part, None)
            returned[module] = clone_tensors(output)  # a copy, because an in-place ReLU may follow

    # inference tensors do not count their in-place changes
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as hooks:
        for module in encoder.modules():
            if not _is_hooked(module):
                hooks.enter_context(module.register_forward_pre_hook(this_thread_only(pre_hook), with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(this_thread_only(post_hook), with_kwargs=True))
        hooks.enter_context(layer.register_forward_hook(this_thread_only(lambda *_: reached.append(True))))  # runs after `post_hook`
        before = _list_attributes(encoder)
        encoder(images)
        stateful = {module for module, attributes in _list_attributes(encoder).items() if before.get(module) != attributes}
    unsafe |= {module for module in returned if not stateful.isdisjoint(module.modules())}
    repeats = {module: _make_repeat(output, len(images)) for module, output in returned.items() if module not in unsafe}
    return {module: repeat for module, repeat in repeats.items() if repeat is not None}


def _list_attributes(encoder: nn.Module) -> dict[nn.Module, list[tuple[str, int, int]]]:
    """The attributes of each module, by identity and length: a module that keeps activations changes them."""
    hidden = {*vars(nn.Module())}
    return {
        module: [
            (name, id(value), len(value) if isinstance(value, (list, dict)) else 0)
            for name, value in vars(module).items()
            if name not in hidden
        ]
        for module in encoder.modules()
    }


def _is_hooked(module: nn.Module) -> bool:
    """True if a call of the module does more than its own forward: it has hooks, or its forward is replaced."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _make_repeat(returned: object, n_examples: int) -> Callable[[int, int], object] | None:
    pack, output = make_packer(returned, n_examples), get_first_tensor(returned)
    if pack is None or output is None or not output.dim() or len(output) != n_examples:
        return None
    return lambda example, n_rows: pack(output[[example] * n_rows], example)


@contextmanager
def skip_prefix(prefix: Prefix, example: int, n_rows: int) -> Iterator[None]:
    """Let the modules of the prefix return their recorded outputs for one example, without running."""
    is_ours = make_thread_filter()

    def forward(module: nn.Module, repeat: Callable[[int, int], object], *args: object, **kwargs: object) -> object:
        return repeat(example, n_rows) if is_ours(module) else type(module).forward(module, *args, **kwargs)

    try:
        for module, repeat in prefix.items():
            vars(module)["forward"] = partial(forward, module, repeat)
        yield
    finally:
        for module in prefix:
            vars(module).pop("forward", None)
