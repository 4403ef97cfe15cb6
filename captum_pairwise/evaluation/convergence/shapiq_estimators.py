"""The estimators of Shapley–Taylor indices that shapiq has, where it is installed."""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch

from captum_pairwise.evaluation.convergence.study_estimators import Contender, SecondOrder
from captum_pairwise.interop import as_shapiq_game


@dataclass(frozen=True)
class Peer:
    """A class of shapiq, the settings that differ from its own, and what it needs beside shapiq.

    Attributes:
        name: of the class.
        settings: of its constructor.
        needs: a package that it imports when it is used.
        is_slow: as of `Contender`.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None
    is_slow: bool = False


INDEX = {"index": "STII"}
PEERS = {
    "shapiq permutations": Peer("PermutationSamplingSTII"),
    "shapiq SHAPIQ": Peer("SHAPIQ", INDEX),
    "shapiq SHAPIQ, paired": Peer("SHAPIQ", INDEX | {"pairing_trick": True}),
    "shapiq SVARMIQ": Peer("SVARMIQ", INDEX),
    "shapiq SVARMIQ, paired": Peer("SVARMIQ", INDEX | {"pairing_trick": True}),
    "shapiq ProxySPEX": Peer("ProxySPEX", INDEX, "lightgbm", is_slow=True),
    "shapiq ProxySHAP": Peer("ProxySHAP", INDEX, "xgboost"),
    "shapiq ProxySHAP, adjusted": Peer("ProxySHAP", INDEX | {"adjustment": True, "k_folds": 5}, "xgboost"),
}


def peers() -> tuple[dict[str, Contender], list[str]]:
    """Its estimators by name, and sentences about those that are left out."""
    if find_spec("shapiq") is None:
        return {}, ["shapiq's estimators: shapiq is not installed, pip install 'captum-pairwise[interop]'"]
    try:
        shapiq = import_module("shapiq")
    except ImportError as error:
        return {}, [f"shapiq's estimators: shapiq cannot be imported ({error})"]
    contenders, left_out = {}, []
    for name, peer in PEERS.items():
        if not hasattr(shapiq, peer.name):
            left_out.append(f"{name}: shapiq {version('shapiq')} does not have it; newer versions may, on Python 3.12 or later")
        elif peer.needs is not None and find_spec(peer.needs) is None:
            left_out.append(f"{name}: it needs {peer.needs}, pip install {peer.needs}")
        else:
            contenders[name] = Contender(_estimate(getattr(shapiq, peer.name), peer), f"shapiq {version('shapiq')}", is_slow=peer.is_slow)
    return contenders, left_out


def _estimate(approximator: type, peer: Peer) -> Callable[[Any, int, int], SecondOrder]:
    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # LightGBM says every split
            warnings.simplefilter("ignore")
            method = approximator(n=game.n_players, max_order=2, random_state=seed, **peer.settings)
            return torch.tensor(method.approximate(budget, as_shapiq_game(game)).get_n_order_values(2), dtype=torch.float64)

    return estimate
