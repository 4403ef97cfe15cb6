"""Partition SHAP of one photo's pixels, given another photo: this package and shap's own explainer with the same number of passes.

    python tutorials/measurements/partition_speed.py
    python tutorials/measurements/partition_speed.py --evaluations 5000 --repeats 2

Both views of the stereo motorcycle, EfficientNet-Lite0 at 224 pixels, cosine, one thread, batches of 64, over the 25×25 box blur. The
runs alternate. shap calls the network on batches of 64. `in chunks` is shap with the chunk size of this package, which is faster on a CPU.
Needs `pip install 'captum-pairwise[tutorials,oracles]'`.
"""

import argparse
import time

import numpy as np
import shap
import skimage.data
import torch
from shap.maskers import Image
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise import backbones
from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import make_one_image_games
from captum_pairwise.network.batching import Chunk, Evaluator, choose_chunk_size
from captum_pairwise.players.regions import player_centres, scalars
from captum_pairwise.players.trees import bisection_tree

BATCH = 64


def explain(model: cp.SimilarityWrapper, pair: tuple[Tensor, Tensor], evaluations: int) -> Tensor:
    pairs = build_input_pairs(model, pair, ForwardContext(), players=scalars)
    _, game = make_one_image_games(next(pairs.games()))
    tree = bisection_tree(player_centres(pairs.retrieved.players, 0))
    return partition_shapley(game, tree, evaluations, batch_size=BATCH)["marginal"][0]


def explain_by_shap(model: cp.SimilarityWrapper, pair: tuple[Tensor, Tensor], evaluations: int, chunk: int) -> Tensor:
    evaluate = Evaluator(model.given_query(pair[0]), Chunk(chunk))
    photo = pair[1][0].permute(1, 2, 0).numpy()
    masker = Image("blur(25,25)", photo.shape)
    explainer = shap.PartitionExplainer(lambda rows: evaluate(torch.from_numpy(rows).permute(0, 3, 1, 2)).numpy(), masker)
    np.random.seed(0)
    explanation = explainer(photo[None], max_evals=evaluations, batch_size=BATCH, silent=True)
    assert isinstance(explanation, shap.Explanation)
    return torch.from_numpy(explanation.values).sum(-1).flatten()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Partition SHAP's speed.")
    parser.add_argument("--evaluations", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = backbones.create("efficientnet_lite0")
    encoder.to(memory_format=torch.channels_last)  # the memory format of shap's rows; otherwise shap would have faster convolutions
    model = cp.SimilarityWrapper(encoder)
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = encoder.preprocess(left), encoder.preprocess(right)
    added = (model(*pair).double() - model(pair[0], cp.blur_baseline(pair[1])).double()).item()
    rows: list[int] = []
    for tower in (model.query_encoder, model.retrieved_encoder):
        tower.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    chunk = choose_chunk_size(pair[1][0])
    runs = {
        "captum_pairwise": lambda: explain(model, pair, arguments.evaluations),
        "shap": lambda: explain_by_shap(model, pair, arguments.evaluations, BATCH),
        f"shap in chunks of {chunk}": lambda: explain_by_shap(model, pair, arguments.evaluations, chunk),
    }
    # the first call of shap compiles its tree, and later runs reuse memory that was freed once
    explain_by_shap(model, pair, 2 * BATCH, BATCH)
    print(f"the retrieved photo adds {added:.6f} to the similarity over its blur")
    print("| explainer | seconds | of a processor | passes, including both complete photos | efficiency error |")
    print("|---|---|---|---|---|")
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            rows.clear()
            started, worked = time.perf_counter(), time.process_time()
            credits = run()
            seconds, of_processor = time.perf_counter() - started, time.process_time() - worked
            error = abs(credits.double().sum().item() - added)
            print(f"| {name} | {seconds:.1f} | {of_processor:.1f} | {sum(rows)} | {error:.0e} |", flush=True)


if __name__ == "__main__":
    main()
