"""Type checkers accept the code of README.md and of the site's pages, and know what `attribute` returns."""

import json
import os
import re
import subprocess
import sys

import pytest
from code_blocks import read_code_blocks
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

NAMES = """
from typing import Any
import numpy as np
import torch
import torchvision
from torch import Tensor, nn

encoder: Any = torchvision.models.resnet50()
query: Any = torch.rand(1, 3, 224, 224)
retrieved: Tensor = torch.rand(1, 3, 224, 224)
results: Any = torch.rand(3, 3, 224, 224)
query_mask: Tensor = torch.rand(1, 224, 224)
file: str = "weights.pth"
files: list[str] = ["photo.jpg"]
rows: list[dict[str, Any]] = []
embeddings: np.ndarray = np.zeros((8, 16))
query_embedding: np.ndarray = np.zeros((1, 16))
any_function: Any = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
network: Any = encoder
transform: Any = nn.Identity()
"""
TYPES = {"query": "Tensor", "results": "Tensor", "encoder": "torchvision.models.ResNet"}  # of README.md; a block has others
README_NAMES = re.sub(r"^(query|results|encoder): Any", lambda name: f"{name[1]}: {TYPES[name[1]]}", NAMES, flags=re.MULTILINE)
USES = """
credit: Tensor = method.attribute((query, retrieved))
both: tuple[Tensor, Tensor] = method.attribute((query, retrieved), return_convergence_delta=True)
maps: tuple[Tensor, Tensor] = cp.LayerKernelSAM(model, encoder.layer4).attribute((query, retrieved))
sam = cp.LayerSAM(model, encoder.layer4)
of_sam: tuple[tuple[Tensor, Tensor], Tensor] = sam.attribute((query, retrieved), return_convergence_delta=True)
hessians: Tensor = cp.LayerIntegratedHessians(model, encoder.layer4).attribute((query, retrieved))
gap: Tensor = cp.LayerIGSAM(model, encoder.layer4).attribute((query, retrieved), return_convergence_delta=True)[1]
"""
WRONG = """
wrong: str = method.attribute((query, retrieved))
wrong_maps: Tensor = cp.LayerKernelSAM(model, encoder.layer4).attribute((query, retrieved))
wrong_delta: Tensor = cp.LayerSAM(model, encoder.layer4).attribute((query, retrieved), return_convergence_delta=True)
"""
LIBRARIES = (
    "torchvision timm transformers open_clip sentence_transformers pytorch_metric_learning pytorch_lightning faiss lancedb qdrant_client"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file with all code of README.md, one for each block of the page, and one with mistakes."""
    folder = tmp_path_factory.mktemp("types")
    readme = README_NAMES + "\n".join(read_code_blocks((REPOSITORY / "README.md").read_text()))
    (folder / "readme.py").write_text(readme + USES)
    (folder / "wrong.py").write_text(readme + WRONG)
    pages = (REPOSITORY / "tutorials" / name for name in ("your_model_in_five_lines.md", "guide/choose.md", "guide/options.md", "index.md"))
    for number, block in enumerate(block for page in pages for block in read_code_blocks(page.read_text())):
        (folder / f"block{number}.py").write_text(NAMES + block)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "basic", "extraPaths": [str(REPOSITORY)]}))
    skipped = "\n".join(f"[mypy-{library}.*]\nfollow_imports = skip\nignore_missing_imports = True" for library in LIBRARIES.split())
    (folder / "mypy.ini").write_text(f"[mypy]\n{skipped}\n")
    return folder


def list_mistakes(module, folder, *arguments):
    """The lines of a type checker that are errors."""
    pytest.importorskip(module, reason="pip install 'captum-pairwise[dev]'")
    environment = os.environ | {"MYPYPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, timeout=600, env=environment
    )
    assert run.returncode in (0, 1), run.stderr
    return [line for line in run.stdout.splitlines() if " error: " in line]


CHECKERS = {
    "pyright": lambda folder: list_mistakes("pyright", folder, "-p", str(folder), "--pythonpath", sys.executable),
    "mypy": lambda folder: list_mistakes("mypy", folder, ".", "--cache-dir", str(folder / "cache"), "--config-file", "mypy.ini"),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_accept_the_documented_code_and_find_mistakes(folder, checker):
    mistakes = CHECKERS[checker](folder)
    false_alarms = [line for line in mistakes if "wrong.py" not in line]
    assert not false_alarms, "\n".join(false_alarms)
    assert len(mistakes) == len(WRONG.split("\n")) - 2
