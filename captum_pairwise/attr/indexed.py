"""Constructors of the methods that have a choice of interaction index and no other option."""

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod
from captum_pairwise.attr.views import Matrix
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.index import SHAPLEY_TAYLOR, Probability, parse_index
from captum_pairwise.results.interactions import Interactions


class InputIndexMethod(InputMethod[Interactions, Matrix]):
    """The constructor of the classes of parts of images."""

    def __init__(self, forward_func: ForwardFunc, *, index: str = SHAPLEY_TAYLOR, p: Probability = 0.5) -> None:
        InputMethod.__init__(self, forward_func)
        self.index = parse_index(index, p)


class LayerIndexMethod(LayerMethod[Interactions, Matrix]):
    """The constructor of the classes of cells of a layer."""

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        index: str = SHAPLEY_TAYLOR,
        p: Probability = 0.5,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self.index = parse_index(index, p)
