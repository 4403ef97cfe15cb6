"""Recognise objects of other libraries, without an import of these libraries."""


def is_of_class(model: object, library: str, *names: str) -> bool:
    """True if a class of an object, or one that it inherits from, has one of these names in a library, which need not be installed.

    >>> from collections import OrderedDict
    >>> is_of_class(OrderedDict(), "collections", "OrderedDict"), is_of_class({}, "collections", "OrderedDict")
    (True, False)
    """
    return any(kind.__name__ in names and kind.__module__.partition(".")[0] == library for kind in type(model).__mro__)
