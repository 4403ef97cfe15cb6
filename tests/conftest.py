"""Cases that several test files share: tiny encoders and random games."""

import copy
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import jaxtyping
import pytest
import torch
from captum.attr import LayerAttribution
from hypothesis import Phase, settings
from torch import Tensor, nn
from tqdm.std import tqdm

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.estimators.enumeration import enumerate_values
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame

torch.set_num_threads(1)
REPOSITORY = Path(__file__).parents[1]
sys.path.extend(str(folder) for folder in Path(__file__).parent.iterdir() if folder.is_dir())  # tests import cases of other tests
LONG = os.environ.get("CAPTUM_PAIRWISE_LONG", "0") != "0"  # many more random games, kills and failures: for a nightly run
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # to explain a failure traces every line of torch: minutes
settings.register_profile("short", max_examples=10, deadline=None, derandomize=True, database=None, phases=PHASES)
settings.register_profile("long", max_examples=200, deadline=None, phases=PHASES)  # other games each time, failures kept
settings.load_profile("long" if LONG else "short")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def tiny_encoder(seed: int = 0) -> nn.Sequential:
    """Three convolutions to a map [B, 6, 3, 3] of a 3×12×12 image, float64; layer 4 is the last, layers 0 and 2 are followed by more."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3)).double()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.5
            parameter.copy_(2 * spread * random_tensor(*parameter.shape, seed=100 * seed + index))
    return network.eval()


def images(batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A batch of pairs of random 3×12×12 images in [0, 1], float64."""
    return tuple(torch.rand(batch, 3, 12, 12, generator=seeded(seed + k), dtype=torch.float64) for k in range(2))


def relu_tower(n_players: int, seed: int, channels: int = 20) -> Callable[[Tensor], Tensor]:
    """The unit embedding of a masked random input by a random ReLU network of three layers; not zero at the zero baseline."""
    sizes = [n_players, 20, 20, channels]
    weights = [random_tensor(a, b, seed=10 * seed + k) * (2 / a) ** 0.5 for k, (a, b) in enumerate(pairwise(sizes))]
    biases = [random_tensor(size, seed=10 * seed + 5 + k) / 2 for k, size in enumerate(sizes[1:])]
    inputs = random_tensor(n_players, seed=10 * seed + 9)

    def embed(z: Tensor) -> Tensor:
        hidden = z.double() * inputs
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            hidden = hidden @ weight + bias
            hidden = hidden.relu() if layer < 2 else hidden
        return nn.functional.normalize(hidden, dim=1)

    return embed


def relu_game(n_query: int, n_retrieved: int, seed: int) -> TwoTowerGame:
    return TwoTowerGame(n_query, n_retrieved, relu_tower(n_query, 2 * seed), relu_tower(n_retrieved, 2 * seed + 1))


def smooth_game(n_query: int, n_retrieved: int, seed: int) -> TwoTowerGame:
    """The cosine of two random networks of one hidden layer, smooth on the whole cube."""

    def tower(n_players: int, seed: int) -> Callable[[Tensor], Tensor]:
        inner, offset, outer = (
            random_tensor(n_players, 12, seed=seed) / 2,
            random_tensor(12, seed=seed + 1),
            random_tensor(12, 7, seed=seed + 2),
        )
        return lambda z: nn.functional.normalize(torch.tanh(z.double() @ inner + offset) @ outer, dim=1)

    return TwoTowerGame(n_query, n_retrieved, tower(n_query, 10 * seed), tower(n_retrieved, 10 * seed + 5))


def opaque(game: TwoTowerGame) -> CallableGame:
    """The same values, without the towers."""
    return CallableGame(game.n_query, game.n_retrieved, game.values)


def looked_up(table: Tensor) -> Callable[[Tensor], Tensor]:
    """The row of each coalition in a table of all."""
    return lambda z: table[(z.long() << torch.arange(z.shape[1])).sum(1)]


def tabulated(game: Game) -> CallableGame:
    """The same values, each computed once."""
    return CallableGame(game.n_query, game.n_retrieved, looked_up(enumerate_values(game)))


def random_game(n_query: int, n_retrieved: int, seed: int) -> CallableGame:
    """A game with an independent random value for every coalition."""
    n_players = n_query + n_retrieved
    return CallableGame(n_query, n_retrieved, looked_up(random_tensor(2**n_players, seed=seed)))


@pytest.fixture(autouse=True)
def seed_networks() -> None:
    """Networks of libraries draw their weights from the global generator: the same in each order of the tests.

    Not `torch.manual_seed`, which keeps a formatted stack for each of the thousands of tests where no accelerator is at hand."""
    torch.default_generator.manual_seed(0)


@pytest.fixture(params=["cosine", "dot", "euclidean"])
def similarity(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model() -> SimilarityWrapper:
    """Cosine similarity of two tied tiny encoders."""
    return SimilarityWrapper(tiny_encoder())


# the attribution classes, and how each is called

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))
LAYER_MASKS = (cp.grid(3, 3, 2, 2), cp.grid(3, 3, 3, 2))
INPUT = [
    cp.ExactShapleyTaylor,
    cp.FactorisedShapleyTaylor,
    cp.GaussianProcessShapleyTaylor,
    cp.IntegratedHessians,
    cp.JaggedShapleyTaylor,
    cp.KernelShapleyTaylor,
    cp.PairwiseLime,
    cp.ShapleyTaylorSampling,
]
SAMPLED_LAYER = [
    cp.LayerExactShapleyTaylor,
    cp.LayerFactorisedShapleyTaylor,
    cp.LayerGaussianProcessShapleyTaylor,
    cp.LayerJaggedShapleyTaylor,
    cp.LayerKernelShapleyTaylor,
    cp.LayerShapleyTaylorSampling,
]
PAIRWISE_LAYER = [*SAMPLED_LAYER, cp.LayerIntegratedHessians, cp.LayerPairwiseSAM]
INPUT_FIRST_ORDER, LAYER_FIRST_ORDER = (
    [cp.KernelShapley, cp.PartitionShap, cp.SuperpixelLime],
    [cp.LayerSAM, cp.LayerIGSAM, cp.LayerKernelSAM],
)
FIRST_ORDER = INPUT_FIRST_ORDER + LAYER_FIRST_ORDER
LAYER = PAIRWISE_LAYER + LAYER_FIRST_ORDER


def make(cls, forward):
    """A method, and the arguments that give it 4 and 6 players."""
    if cls is cp.SuperpixelLime:
        return cls(forward), {"feature_mask": MASKS, "n_samples": 100}  # Captum's loop over 5000 takes a second
    if cls in (cp.FactorisedInteractions, *INPUT, *INPUT_FIRST_ORDER):
        return cls(forward), {"feature_mask": MASKS}
    if cls is cp.LayerVESM:
        return cls(forward, forward.query_encoder[4]), {"relu_attributions": False}
    if cls is cp.PairwiseSBSM:
        return cls(forward), {"feature_mask": MASKS, "sliding_window_shapes": 5, "strides": 3}
    if cls is cp.SBSM:
        return cls(forward), {"sliding_window_shapes": 5, "strides": 3}
    return cls(forward, forward.query_encoder[4]), {"layer_mask": LAYER_MASKS}


def flat(result):
    return torch.cat([part.flatten(1) for part in result], 1) if isinstance(result, tuple) else result.flatten(1)


def on_wrapper(cls: type, model: nn.Module, forward: Callable | None = None) -> tuple:
    """A method of a `SimilarityWrapper`, or of another function of it, and its arguments as `make` has them."""
    _, arguments = make(cls, model)
    layers = [model.query_encoder[4]] if issubclass(cls, LayerAttribution) else []
    return cls(model if forward is None else forward, *layers), arguments


def fail(*_):
    raise ZeroDivisionError


def state_of(model):
    modules = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in model.parameters()]
    return modules, parameters, torch.random.get_rng_state().sum().item()


# windows over images that are not square

SIZES = ((12, 10), (11, 13))
WINDOWS = {"sliding_window_shapes": (5, 4), "strides": (2, 3)}


def pair_of_sizes(batch=2):
    return tuple(torch.rand(batch, 3, *size, generator=seeded(k), dtype=torch.float64) for k, size in enumerate(SIZES))


def boxes(height, width, shape, strides):
    """The pixels of each window, one after the other: as many strides as begin in the image, the overhang halved."""
    corners = []
    for size, length, stride in zip((height, width), shape, strides, strict=True):
        count = -(-size // stride)
        overhang = (count - 1) * stride + length - size
        corners.append([stride * k - overhang // 2 for k in range(count)])
    found = []
    for top in corners[0]:
        for left in corners[1]:
            box = torch.zeros(height, width, dtype=torch.float64)
            box[max(top, 0) : max(top + shape[0], 0), max(left, 0) : max(left + shape[1], 0)] = 1
            found.append(box)
    return torch.stack(found)


def shapiqs_index(game, order, index="STII"):
    shapiq = pytest.importorskip("shapiq", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    exact = shapiq.ExactComputer(n_players=game.n_players, game=lambda z: game.values(torch.as_tensor(z, dtype=torch.bool)).numpy())
    return exact(index, order=order)


@pytest.fixture(scope="module")
def process():
    """Run in a new process without shape checks, as users do, so that other tests leave no memory; its forks share the lock of tqdm."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=tqdm.get_lock) as process:
        yield process


@pytest.fixture
def without_type_checks(monkeypatch):
    """The annotations are checked in the other tests; here the package's own sentences are wanted."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def compile_script(module: nn.Module) -> torch.jit.ScriptModule:
    """The module in TorchScript, which knows built-in functions by their address: a list that got the address of one that is gone fails."""
    try:
        return torch.jit.script(module)
    except RuntimeError as error:
        if "builtin cannot be used as a value" not in str(error):
            raise
        return torch.jit.script(copy.deepcopy(module))


def assert_refused(call: Callable[[], object], sentence: str) -> None:
    """Assert that a call is refused with a message: what was expected, what came, what to do."""
    with pytest.raises(ValueError, match=f"(?s:{sentence})") as refused:
        call()
    assert str(refused.value).startswith("Expected ") and str(refused.value).endswith(".")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of properties and examples of all tests together; hypothesis prints them for each test."""
    reports = [report for outcome in ("", "passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [report._hypothesis_stats for report in reports if hasattr(report, "_hypothesis_stats")]
    counts = [int(count) for text in told for count in re.findall(r"(\d+) passing", text)]
    if told:
        terminalreporter.write_line(f"hypothesis: {len(told)} properties, {sum(counts)} examples")
