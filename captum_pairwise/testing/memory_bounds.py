"""How much memory each method takes at most, beside the network and the images.

`python -m captum_pairwise.testing.memory_bounds` prints it.

The bounds count numbers of eight bytes, hold for a `SimilarityWrapper` on a CPU, and are Python expressions of

* `B`: pairs in the batch; `n`: players of both images of a pair; `x`: numbers in both images and in what the layer returns for them,
* `c`: rows in a forward pass (`perturbations_per_eval`, `internal_batch_size`); `a`: numbers that the network holds for a row,
* `d`: channels of an embedding; `s`: `n_samples`; `k`: `n_steps`, or the nodes of a sampled path, about `4 * sqrt(n)`.
"""

from collections.abc import Mapping

BASE = "3 * B * x + 2 * c * a"
PAIRS = "3 * B * n**2"
TOWERS = f"{BASE} + {PAIRS} + 4 * s**2 + 3 * s * n * k + 2 * n * k * d + 2**20"
QUADRATIC = f"{BASE} + {PAIRS} + n**4 / 2 + 1024 * n**2 + 2 * s * n + 2**20"
ORDERS = f"{BASE} + {PAIRS} + 2 * s * (n + d)"
PROCESS = f"{BASE} + {PAIRS} + 4 * s**2 + 2 * s * n * k + 4 * min(2**23, s * n**2) + 2**20"
CLOSED = f"{BASE} + {PAIRS} + 2 * n * d"
PATH = f"{BASE} + {PAIRS} + 16 * n**2 + 16 * n * d"
ENUMERATED = f"{BASE} + {PAIRS} + 4 * 2 ** (n / 2) * (n + d)"
LINEAR = f"{BASE} + 4 * s * (n + d)"

BOUNDS: Mapping[str, str] = {
    "ExactShapleyTaylor": ENUMERATED,
    "FactorisedShapleyTaylor": TOWERS,
    "GaussianProcessShapleyTaylor": PROCESS,
    "IntegratedHessians": PATH,
    "JaggedShapleyTaylor": TOWERS,
    "KernelShapley": LINEAR,
    "KernelShapleyTaylor": QUADRATIC,
    "LayerExactShapleyTaylor": ENUMERATED,
    "LayerFactorisedShapleyTaylor": TOWERS,
    "LayerGaussianProcessShapleyTaylor": PROCESS,
    "LayerIGCAM": f"{BASE} + 4 * k * n",
    "LayerIGSAM": f"{BASE} + 4 * k * n",
    "LayerIntegratedHessians": PATH,
    "LayerJaggedShapleyTaylor": TOWERS,
    "LayerKernelSAM": LINEAR,
    "LayerKernelShapleyTaylor": QUADRATIC,
    "LayerPairwiseSAM": CLOSED,
    "LayerSAM": CLOSED,
    "LayerShapleyTaylorSampling": ORDERS,
    "LayerVESM": BASE,
    "PairwiseLime": QUADRATIC,
    "PairwiseSBSM": f"{BASE} + {PAIRS} + 4 * s",
    "PartitionShap": LINEAR,
    "SBSM": BASE,
    "ShapleyTaylorSampling": ORDERS,
    "SuperpixelLime": LINEAR,
}


def table() -> str:
    """The table in Markdown."""
    rows = (f"| `{method}` | `{bound}` |" for method, bound in BOUNDS.items())
    return "\n".join(["| method | numbers of eight bytes |", "| --- | --- |", *rows])


if __name__ == "__main__":
    print(table())
