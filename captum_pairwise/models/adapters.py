"""Objects of other libraries as models: each is recognised by its class, without an import of its library, and converted."""

from collections.abc import Callable
from typing import Any

Converter = tuple[Callable[[Any], bool], Callable[[Any], Any]]

CONVERTERS: list[Converter] = []  # a test of the object, and the conversion to an encoder or to a function of both inputs


def adapt_model(model: Any) -> Any:
    """An encoder, a `DualEncoder`, a `SimilarityWrapper` or a function of both inputs for an object of another library.

    Other objects are returned unchanged.
    """
    return next((convert(model) for is_known, convert in CONVERTERS if is_known(model)), model)


def is_of_class(model: object, library: str, *names: str) -> bool:
    """True if a class of an object, or one that it inherits from, has one of these names in a library, which need not be installed.

    >>> from collections import OrderedDict
    >>> is_of_class(OrderedDict(), "collections", "OrderedDict"), is_of_class({}, "collections", "OrderedDict")
    (True, False)
    """
    return any(kind.__name__ in names and kind.__module__.partition(".")[0] == library for kind in type(model).__mro__)
