"""The registry of the contenders of the tables: a line for each method, and functions of the user beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.evaluation.tables import paper_methods as paper
from captum_pairwise.evaluation.tables import rival_methods as rivals
from captum_pairwise.evaluation.tables import yardsticks
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.retrieved_map import PairResult, RetrievedMap, paint_retrieved
from captum_pairwise.files.factories import find_function
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.results.interactions import Interactions

AGNOSTIC, DEPENDENT, CONTROL = "model agnostic", "architecture dependent", "control"
FirstOrder = Callable[[MethodRun], RetrievedMap]
SecondOrder = Callable[[MethodRun], PairResult | None]
UserFunction = Callable[[SimilarityWrapper, nn.Module, Tensor, Tensor], Interactions | Tensor]


@dataclass(frozen=True)
class TableMethod:
    """A column.

    Attributes:
        title: the heading of the column.
        family: the best method of each family is set in bold, as in the paper.
        first: the map of the retrieved image, or None.
        second: the credit of pairs, or None.
        needs: a package that the method imports when it runs, and the extra that installs it.
        needs_truth: True for a method that looks at the masks or points of the pair.
        is_slow: True for methods that need a hundred or more network passes, or seconds, for a pair.
    """

    title: str
    family: str
    first: FirstOrder | None = None
    second: SecondOrder | None = None
    needs: tuple[str, str] | None = None
    needs_truth: bool = False
    is_slow: bool = False


def share_result(title: str, family: str, explain: Callable[[MethodRun], Interactions], is_slow: bool = False) -> TableMethod:
    """A method whose two orders are one result: the heat map and the pairs of the same `Interactions`."""

    def call(run: MethodRun) -> Interactions:
        return run.call_once(lambda: explain(run))

    return TableMethod(title, family, lambda run: paint_retrieved(call(run)), call, is_slow=is_slow)


TABLE_METHODS: dict[str, TableMethod] = {
    "sbsm": TableMethod("SBSM", AGNOSTIC, paper.explain_by_sbsm, paper.pair_by_sbsm, is_slow=True),
    "pshap": TableMethod("PSHAP", AGNOSTIC, lambda run: run.explain_parts(cp.PartitionShap, run.settings.first, None), is_slow=True),
    "lime": TableMethod(
        "LIME",
        AGNOSTIC,
        lambda run: run.explain_parts(cp.SuperpixelLime, run.settings.first, run.pair.superpixels[1]),
        lambda run: run.pair_parts(cp.PairwiseLime, run.settings.second),
        ("sklearn", "lime"),
        is_slow=True,
    ),
    "kshap": TableMethod(
        "KSHAP",
        AGNOSTIC,
        lambda run: run.explain_parts(cp.KernelShapley, run.settings.first, run.pair.superpixels[1]),
        lambda run: run.pair_parts(cp.KernelShapleyTaylor, run.settings.second, sampling=run.settings.sampling),
        is_slow=True,
    ),
    "factorised": TableMethod(
        "factorised",
        AGNOSTIC,
        lambda run: run.explain_parts(cp.JaggedShapleyTaylor, run.settings.n_embeddings, run.pair.superpixels[1]),
        lambda run: run.pair_parts(cp.FactorisedShapleyTaylor, run.settings.n_embeddings, within=True),
        is_slow=True,
    ),
    "fixlip": share_result("FIxLIP", AGNOSTIC, rivals.pair_by_fixlip, is_slow=True),
    "vesm": TableMethod(
        "VESM", DEPENDENT, lambda run: RetrievedMap(cp.LayerVESM(*run.layer).attribute(run.pair.images)[1][:, 0]), is_slow=True
    ),
    "gcam": TableMethod("GCAM", DEPENDENT, paper.explain_by_gradcam),
    "captum_ig": TableMethod("Captum IG", DEPENDENT, rivals.explain_by_captum_gradients),
    "captum_gxa": TableMethod("Captum G×A", DEPENDENT, rivals.explain_by_captum_product),
    "sam": TableMethod("SAM", DEPENDENT, paper.explain_by_sam, lambda run: cp.LayerPairwiseSAM(*run.layer).interactions(run.pair.images)),
    "igsam": TableMethod("IG-SAM", DEPENDENT, paper.explain_by_igsam, paper.pair_by_hessians),
    "ksam": TableMethod(
        "KSAM",
        DEPENDENT,
        lambda run: run.explain_cells(cp.LayerKernelSAM, run.settings.first_layer),
        lambda run: run.pair_cells(cp.LayerKernelShapleyTaylor, run.settings.second_layer, sampling=run.settings.sampling),
        is_slow=True,
    ),
    "layer_factorised": TableMethod(
        "factorised, layer",
        DEPENDENT,
        lambda run: run.explain_cells(cp.LayerJaggedShapleyTaylor, run.settings.n_layer_embeddings),
        lambda run: run.pair_cells(cp.LayerFactorisedShapleyTaylor, run.settings.n_layer_embeddings, within=True),
    ),
    "banzhaf": share_result("Banzhaf, layer", DEPENDENT, paper.pair_by_banzhaf),
    "taylor": share_result("Taylor path", DEPENDENT, paper.pair_by_taylor_path),
    "exclip": share_result("exCLIP", DEPENDENT, rivals.pair_by_exclip),
    "bilrp": share_result("BiLRP-like", DEPENDENT, rivals.pair_by_relevance, is_slow=True),
    "cosine": share_result("cosine matches", DEPENDENT, rivals.pair_by_cosine),
    "random": TableMethod("random", CONTROL, yardsticks.draw_heat_map, yardsticks.draw_pairs),
    "centre": TableMethod("centred blob", CONTROL, yardsticks.draw_blob, yardsticks.pair_with_blob),
    "same_place": TableMethod("same place", CONTROL, second=yardsticks.pair_same_places),
    "no_query": TableMethod("without query", CONTROL, yardsticks.show_activity, yardsticks.pair_with_activity),
    "truth": TableMethod("true mask", CONTROL, yardsticks.show_truth, yardsticks.pair_truth, needs_truth=True),
}


BUILT_IN = frozenset(TABLE_METHODS)


def explain_pair(name: str, run: MethodRun) -> tuple[RetrievedMap | None, PairResult | None]:
    """The orders of a method that the protocol of a pair measures; pairs of photos without masks have first order alone."""
    method, pair = TABLE_METHODS[name], run.pair
    first = method.first(run) if method.first is not None and pair.protocol in ("object", "mosaic") else None
    has_truth = pair.protocol != "object" or pair.masks is not None
    return first, method.second(run) if method.second is not None and has_truth else None


def add_method(name: str, function: UserFunction) -> None:
    """Add a column for a function of your own to the tables.

    Args:
        name: of the column; a function that was added under this name is replaced.
        function: `f(model, layer, query, retrieved)` with a `SimilarityWrapper`, the layer of its feature maps, and two images, each a
            batch of one. It returns `Interactions` for both orders, or a map `[1, H, W]` of the retrieved image for the first.

    Raises:
        ValueError: the name belongs to a method of the tables.
    """
    if name in BUILT_IN:
        raise ValueError(f"Expected a new name for a function, got {name!r}, which is a method of the tables. Choose another.")

    def explain(run: MethodRun) -> Interactions | Tensor:
        return run.call_once(lambda: function(*run.layer, *run.pair.images))

    def show(run: MethodRun) -> RetrievedMap:
        result = explain(run)
        return RetrievedMap(result, result.flatten()) if isinstance(result, Tensor) else paint_retrieved(result)

    def pair(run: MethodRun) -> PairResult | None:
        result = explain(run)
        return None if isinstance(result, Tensor) else result

    TABLE_METHODS[name] = TableMethod(name, DEPENDENT, show, pair)


def choose_methods(names: Sequence[str]) -> list[str]:
    """The columns of these names in the order of the table, those of the user last; prints which ones `all` leaves out.

    Args:
        names: names of `TABLE_METHODS`, `all`, or `NAME=module:function`, a function of the user that is added to the tables.

    Raises:
        ValueError: a name is unknown, or its method needs a package that is not installed.
    """
    own = {name: source for name, equals, source in (text.partition("=") for text in names) if equals}
    for name, source in own.items():
        add_method(name, find_function(source))
    chosen = [text.partition("=")[0] for text in names]
    missing = {name: method.needs for name, method in TABLE_METHODS.items() if method.needs and find_spec(method.needs[0]) is None}
    for name in chosen:
        if name != "all" and name not in TABLE_METHODS:
            raise ValueError(f"Expected methods among {[*TABLE_METHODS, 'all']}, or NAME=module:function, got {name!r}.")
        if name in missing:
            raise ValueError(f"Expected {missing[name][0]} for {name}: pip install 'captum-pairwise[{missing[name][1]}]'.")
    wanted = [name for name in TABLE_METHODS if name in chosen or ("all" in chosen and name in BUILT_IN)]
    for name, (package, extra) in missing.items():
        if name in wanted:
            print(f"Left out: {TABLE_METHODS[name].title}, which needs {package}: pip install 'captum-pairwise[{extra}]'.")
    return [name for name in wanted if name not in missing]
