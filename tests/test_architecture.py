"""The house: imports point down, and every module has its place."""

import ast
from pathlib import Path

import pytest

import captum_pairwise

HOUSE = Path(captum_pairwise.__file__).parent
# a module may import those of the floors below its own; on one floor, those named before it
FLOORS = [
    [
        "_compat",
        "replacing",
        "tensor_files",
        "pictures",
        "weights",
        "autocast",
        "smoothing",
        "heads",
        "similarity",
        "backbones",
        "outputs",
        "threads",
        "chunks",
        "prefixes",
        "tails",
        "layers",
        "players",
        "windows",
        "checks",
        "partition_trees",
        "baselines",
        "text",
        "clip",
    ],
    ["game"],
    ["interactions", "window_pairs"],
    ["masking"],
    ["joint_games", "tower_games"],
    ["pairs"],
    [
        "estimators.coalitions",
        "estimators.quadrature",
        "estimators.tower",
        "estimators.exact",
        "estimators.permutation",
        "estimators.coalition_sampling",
        "estimators.least_squares",
        "estimators.kernel",
        "estimators.kernel_shapley",
        "estimators.partition",
        "estimators.draws",
        "estimators.trends",
        "estimators.coalition_kernel",
        "estimators.process",
        "estimators.gaussian_process",
        "estimators.tower_process",
        "estimators.chains",
        "estimators.tower_chains",
        "estimators.factorised",
        "estimators.jagged",
        "estimators.closed_form",
        "estimators.lime",
        "estimators.sbsm",
        "estimators.derivatives",
        "estimators.integrated",
        "estimators.projection",
        "estimators.vesm",
    ],
    [
        "metrics.pixels",
        "metrics.censoring",
        "metrics.fidelity",
        "metrics.curves",
        "metrics.propagation",
        "metrics.efficiency",
        "metrics.averages",
        "metrics",
        "visualization.scales",
        "visualization.heatmaps",
        "visualization.wording",
        "visualization.headers",
        "visualization.photos",
        "visualization.parts",
        "visualization.position_colours",
        "visualization.maps",
        "visualization.pairs",
        "visualization.tokens",
        "visualization.counterfactual",
        "visualization.transfer",
        "visualization.matches",
        "visualization.projection",
        "visualization.matrix",
        "visualization.convergence",
        "visualization.tables",
        "visualization.page_data",
        "visualization.viewer",
        "visualization",
        "interop",
    ],
    ["attr.base", "attr.closed_form", "attr.pairwise", "attr.one_image", "attr.gradient", "attr.counterfactual"],
    [
        "attr.first_order.kernel",
        "attr.first_order.ig_cam",
        "attr.first_order.ig_sam",
        "attr.first_order.lime",
        "attr.first_order.partition",
        "attr.first_order.sam",
        "attr.first_order.sbsm",
        "attr.first_order.vesm",
        "attr.second_order.exact",
        "attr.second_order.gaussian_process",
        "attr.second_order.integrated_hessians",
        "attr.second_order.jagged",
        "attr.second_order.factorised",
        "attr.second_order.kernel",
        "attr.second_order.lime",
        "attr.second_order.permutation",
        "attr.second_order.projection",
        "attr.second_order.sam",
        "attr.second_order.sbsm",
    ],
    [
        "datasets.reading",
        "datasets.masks",
        "datasets.inside",
        "datasets.pairs",
        "datasets.labelled",
        "datasets.collage",
        "datasets.photos",
        "datasets.builtin",
        "datasets.pascal_voc",
        "datasets.coco_stuff",
        "datasets.online_products",
        "datasets.embedding_store",
        "datasets.embeddings",
        "datasets.mining",
        "datasets",
        "datasets.__main__",
    ],
    [
        "testing.subject",
        "testing.trial",
        "testing.axioms",
        "testing.behaviour",
        "testing.models",
        "testing.state",
        "testing.battery",
        "testing",
    ],
    ["", "memory", "methods", "testing.own", "testing.__main__"],
    [
        "evaluation.markup",
        "evaluation.random_games",
        "evaluation.rows",
        "evaluation.savings",
        "evaluation.contenders",
        "evaluation.peers",
        "evaluation.convergence",
        "evaluation.report",
        "evaluation.convergence_command",
        "evaluation.presets",
        "evaluation.remembered",
        "evaluation.subject",
        "evaluation.findings",
        "evaluation.image_methods",
        "evaluation.layer_methods",
        "evaluation.entrants",
        "evaluation.measures",
        "evaluation.ranks",
        "evaluation.tables",
        "evaluation.table_report",
        "evaluation.tables_command",
        "evaluation.__main__",
    ],
]
# what each floor may not know, whatever the order says
FORBIDDEN = {
    "estimators": {"captum", "torchvision", "skimage", "captum_pairwise.layers", "captum_pairwise.players", "captum_pairwise.masking"},
    "interop": {
        "captum",
        "shapiq",
        "shap",
        "captum_pairwise.masking",
        "captum_pairwise.layers",
    },  # optional packages are not imported at the top
    "visualization": {"captum", "captum_pairwise.game", "captum_pairwise.masking", "captum_pairwise.layers"},
    "metrics": {
        "captum",
        "quantus",
        "captum_pairwise.estimators",
        "captum_pairwise.game",
        "captum_pairwise.layers",
        "captum_pairwise.masking",
        "captum_pairwise.visualization",
    },
    "datasets": {"captum", "captum_pairwise.attr", "captum_pairwise.estimators", "captum_pairwise.game"},
    "evaluation": {"shapiq", "xgboost", "lightgbm"},
    "masking": {"captum_pairwise.estimators", "captum"},
    "attr": {"numpy", "math"},
}
ORDER = [name for floor in FLOORS for name in floor]
EMPTY = {"estimators", "evaluation", "attr", "attr.first_order", "attr.second_order"}


def modules():
    for file in sorted(HOUSE.rglob("*.py")):
        parts = file.relative_to(HOUSE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(file.read_text())


MODULES = dict(modules())


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(name):
    """The module of this package behind an imported name, or None."""
    rest = name.removeprefix("captum_pairwise").removeprefix(".")
    return rest if name.startswith("captum_pairwise") and rest in MODULES else None


def test_every_module_has_its_place():
    assert set(MODULES) == set(ORDER) | EMPTY
    for name in EMPTY:
        assert not list(imported(MODULES[name]))


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_down(name):
    for target in filter(None, map(own, imported(MODULES[name]))):
        assert target in EMPTY or ORDER.index(target) < ORDER.index(name), f"{name} imports {target}"


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_a_floor_knows_only_what_it_needs(floor):
    for name, tree in MODULES.items():
        if name == floor or name.startswith(f"{floor}."):
            known = {found for found in imported(tree) for forbidden in FORBIDDEN[floor] if (found + ".").startswith(forbidden + ".")}
            assert not known, f"{name} imports {known}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_sit_at_the_top_and_users_are_not_asserted(name):
    tree = MODULES[name]
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    every = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert len(top) == len(every)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("name", MODULES)
def test_no_exception_is_swallowed_whole(name):
    handlers = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.ExceptHandler)]
    broad = [node for node in handlers if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")]
    assert not [node.lineno for node in broad if all(isinstance(step, (ast.Pass, ast.Continue)) for step in node.body)]


def test_only_compat_imports_what_captum_keeps_private():
    for name, tree in MODULES.items():
        private = [found for found in imported(tree) if found.startswith("captum.") and "._" in found]
        assert name == "_compat" or not private


def test_public_names_are_listed_and_documented():
    for name in captum_pairwise.__all__:
        assert getattr(captum_pairwise, name).__doc__
    # as ruff sorts them: what is in capitals comes first
    assert sorted(captum_pairwise.__all__, key=lambda name: (not name.isupper(), name)) == captum_pairwise.__all__
