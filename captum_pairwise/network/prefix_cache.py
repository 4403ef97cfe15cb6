"""What a network does before one of its layers, remembered, so that running it again starts at the layer."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.network.layer_outputs import clone_tensors, get_first_tensor, make_packer
from captum_pairwise.network.thread_hooks import make_thread_filter, this_thread_only

# for a module, `(example, n_rows) -> what it returns` for rows that are all one example of the batch
Prefix: TypeAlias = dict[nn.Module, Callable[[int, int], object]]


def record_prefix(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Prefix:
    """What the modules that finish before the layer does, and the layer itself, return for a batch; of nested ones the outermost.

    Left out is what cannot be skipped unseen: modules that run twice, change what they get, or have hooks, and outputs of which the share
    of each example is not known.
    """
    calls: Counter[nn.Module] = Counter()
    returned: dict[nn.Module, object] = {}
    changing: set[nn.Module] = set()
    versions: dict[nn.Module, list[tuple[Any, int]]] = {}
    reached: list[bool] = []

    def before(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        calls[module] += 1
        given: list[Any] = [*args, *kwargs.values()]
        versions[module] = [(one, one._version) for one in given if _is_counted(one)]

    def after(module: nn.Module, _args: object, _kwargs: object, output: object) -> None:
        if any(one._version != version for one, version in versions[module]):
            changing.add(module)
        if not reached:
            for part in module.modules():
                returned.pop(part, None)
            returned[module] = clone_tensors(output)  # a copy, because an in-place ReLU may follow

    plain = [module for module in encoder.modules() if not _is_watched(module)]
    # tensors of inference mode do not tell whether they were changed in place
    with torch.inference_mode(False), torch.no_grad(), _hooked(plain, before, after):
        end = layer.register_forward_hook(this_thread_only(lambda *_: reached.append(True)))  # after the other hooks
        try:
            encoder(images)
        finally:
            end.remove()
    repeats = {module: _repeated(one, len(images)) for module, one in returned.items() if calls[module] == 1 and module not in changing}
    return {module: repeat for module, repeat in repeats.items() if repeat is not None}


def _is_counted(given: object) -> bool:
    """Whether a tensor says how often it was changed in place."""
    return isinstance(given, Tensor) and not given.is_inference()


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody has put something around a module's own forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


@contextmanager
def _hooked(modules: list[nn.Module], before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    hooks: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for module in modules:
            hooks.append(module.register_forward_pre_hook(this_thread_only(before), with_kwargs=True))
            hooks.append(module.register_forward_hook(this_thread_only(after), with_kwargs=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _repeated(returned: object, n_examples: int) -> Callable[[int, int], object] | None:
    rows, output = make_packer(returned, n_examples), get_first_tensor(returned)
    if rows is None or output is None or not output.dim() or len(output) != n_examples:
        return None
    return lambda example, n_rows: rows(output[[example] * n_rows], example)


@contextmanager
def skip_prefix(prefix: Prefix, example: int, n_rows: int) -> Iterator[None]:
    """Let the modules return what they returned for this example, without running."""
    is_ours = make_thread_filter()

    def give(module: nn.Module, repeat: Callable[[int, int], object], *args: object, **kwargs: object) -> object:
        return repeat(example, n_rows) if is_ours(module) else type(module).forward(module, *args, **kwargs)

    try:
        for module, repeat in prefix.items():
            instead: Any = partial(give, module, repeat)
            module.forward = instead
        yield
    finally:
        for module in prefix:
            vars(module).pop("forward", None)
