"""What is installed explains a pair, and writes a picture and a page of it: for an environment with the package and nothing else."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import captum_pairwise as cp


def explain_a_pair() -> None:
    """Attribute with a tiny encoder, exactly; credit sums to what the images have over their blurs."""
    torch.manual_seed(0)
    encoder = torch.nn.Conv2d(3, 8, 4, stride=4).eval()
    model, images = cp.SimilarityWrapper(encoder), (torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12))
    interactions = cp.LayerFactorisedShapleyTaylor(model, encoder).interactions(images)
    torch.testing.assert_close(interactions.marginal.sum(1), interactions.full - interactions.empty)
    with tempfile.TemporaryDirectory() as folder:
        cp.visualization.pair_figure(interactions, images).savefig(Path(folder) / "pair.png")
        page = cp.viewer(interactions, images).save(Path(folder) / "pair.html")
        assert "</html>" in page.read_text(encoding="utf-8"), "the page is cut off"


if __name__ == "__main__":
    installed = Path(cp.__file__).parent
    assert "site-packages" in installed.parts, f"this is the checkout, not what was installed: {installed}"
    explain_a_pair()
    subprocess.run([Path(sys.executable).with_name("captum-pairwise"), "methods"], check=True, stdout=subprocess.DEVNULL)
    print(f"captum_pairwise {cp.__version__} works")
