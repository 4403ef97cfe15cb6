"""The architecture: folders in the order of the data flow, imports only from earlier folders, no cycle, no private import of Captum."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import captum_pairwise

PACKAGE = Path(captum_pairwise.__file__).parent
# a module may import its own folder and the folders above it in this list; `api` is `captum_pairwise/__init__.pyi`
FOLDERS = [
    "_compat",
    "files",
    "players",
    "network",
    "models",
    "results",
    "games",
    "estimators",
    "metrics",
    "visualization",
    "interop",
    "attr",
    "datasets",
    "testing",
    "explanations",
    "audits",
    "api",
    "evaluation",
    "commands",
    "__main__",
]
USE_THE_API = {"testing.method_table"}  # lists the public classes, as users see them
# packages that a folder does not import; optional ones are imported where they are used
FORBIDDEN = {
    "estimators": {
        "captum",
        "torchvision",
        "skimage",
        "captum_pairwise.network.layers",
        "captum_pairwise.players.regions",
        "captum_pairwise.games.sides",
    },
    "interop": {"captum", "shapiq", "shap", "captum_pairwise.games.sides", "captum_pairwise.network"},
    "visualization": {"captum", "captum_pairwise.games.game", "captum_pairwise.games.sides", "captum_pairwise.network"},
    "metrics": {"captum", "quantus", "captum_pairwise.estimators", "captum_pairwise.visualization"},
    "datasets": {"captum", "captum_pairwise.attr", "captum_pairwise.estimators"},
    "evaluation": {"shapiq", "xgboost", "lightgbm"},
    "games": {"captum"},
    "attr": {"numpy", "math"},
}


def parse_modules():
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, ast.parse(file.read_text())
    yield "api", ast.parse((PACKAGE / "__init__.pyi").read_text())


MODULES = dict(parse_modules())


def imported_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = node.module if node.level == 0 else ".".join(filter(None, ("captum_pairwise", node.module)))
            yield package
            yield from (f"{package}.{alias.name}" for alias in node.names)


def imported_modules(name):
    """The modules of this package that a module imports; of `from folder import name` the module that defines the name."""
    for imported in imported_names(MODULES[name]):
        if imported == "captum_pairwise" and f"{imported}.__version__" not in imported_names(MODULES[name]):
            yield "api"
        target = imported.removeprefix("captum_pairwise.")
        if imported.startswith("captum_pairwise.") and target in MODULES:
            yield target


def folder_of(name):
    return name.partition(".")[0]


def test_every_folder_and_loose_module_is_known():
    assert {folder_of(name) for name in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    for target in set(imported_modules(name)):
        is_api_user = target == "api" and name in USE_THE_API
        assert is_api_user or FOLDERS.index(folder_of(target)) <= FOLDERS.index(folder_of(name)), f"{name} imports {target}"


def test_no_import_cycle():
    TopologicalSorter({name: set(imported_modules(name)) - {name} for name in MODULES}).prepare()  # raises CycleError


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_what_it_needs(folder):
    for name in MODULES:
        if folder_of(name) == folder:
            forbidden = {
                imported
                for imported in imported_names(MODULES[name])
                for package in FORBIDDEN[folder]
                if f"{imported}.".startswith(f"{package}.")
            }
            assert not forbidden, f"{name} imports {forbidden}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_are_at_the_top_and_nothing_is_asserted(name):
    tree = MODULES[name]
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    every = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert len(top) == len(every)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("name", MODULES)
def test_no_broad_exception_handler_ignores_its_exception(name):
    handlers = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.ExceptHandler)]
    broad = [node for node in handlers if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")]
    assert not [node.lineno for node in broad if all(isinstance(step, (ast.Pass, ast.Continue)) for step in node.body)]


def test_only_compat_imports_private_modules_of_captum():
    for name, tree in MODULES.items():
        private = [imported for imported in imported_names(tree) if imported.startswith("captum.") and "._" in imported]
        assert name == "_compat" or not private


def test_public_names_are_listed_and_documented():
    listed = next(node.value for node in MODULES["api"].body if isinstance(node, ast.Assign))
    assert set(ast.literal_eval(listed)) == set(captum_pairwise.__all__)
    for name in captum_pairwise.__all__:
        assert getattr(captum_pairwise, name).__doc__


def test_the_package_is_imported_without_pytorch():
    program = "import sys, captum_pairwise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
