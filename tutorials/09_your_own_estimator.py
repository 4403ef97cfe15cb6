# %% [markdown]
# # Write your own estimator
#
# After this page you can
#
# * write an attribution method for pairs of parts in one file of about twenty lines;
# * use it on images, layers and batches, with any baseline and any mask, without more code;
# * prove with one call that it keeps the promises that users expect;
# * compare it with the other methods.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
import warnings

import skimage.data
import torch

import captum_pairwise as cp
from captum_pairwise.attr.base import InputMethod, LayerMethod
from captum_pairwise.games.game import CallableGame, Game
from captum_pairwise.results.interactions import Interactions, make_interactions

warnings.filterwarnings("ignore", ".*is deprecated", FutureWarning)  # the battery tries TorchScript, too

# %% [markdown]
# ## An estimator sees a game, and no image
#
# A `Game` is one pair of inputs as a function of which parts are present: `game.values(z)` takes rows of presences, `[rows, n_players]`,
# and returns the similarity for each row. The query's players come first. Images, layers, baselines, chunks and devices are handled before
# the estimator is called.
#
# Our method is *occlusion of pairs*: how much does the similarity fall when both parts are removed, beyond the sum of the two single falls?
#
# $$\phi_{ij} = v(N) - v(N \setminus i) - v(N \setminus j) + v(N \setminus ij)$$


# %%
def occlude_pairs(game: Game) -> Interactions:
    """The joint effect of each part of the query and each part of the retrieved image while all other parts are present."""
    without_one = 1 - torch.eye(game.n_players)
    without_two = without_one[: game.n_query, None] * without_one[None, game.n_query :]  # [query, retrieved, players]
    ends = torch.stack([torch.zeros(game.n_players), torch.ones(game.n_players)])
    values = game.values(torch.cat([ends, without_one, without_two.flatten(0, 1)]))
    one = values[2 : 2 + game.n_players]
    two = values[2 + game.n_players :].reshape(game.n_query, -1)
    between = values[1] - one[: game.n_query, None] - one[None, game.n_query :] + two
    return make_interactions(values[:2], game.n_query, game.n_evaluations, between=between[None])


# %% [markdown]
# `make_interactions` takes $v(\emptyset)$ and $v(N)$, and the blocks of credit that the method computes, each as a batch of one. A block
# that is not computed stays `None`.
#
# Test an estimator on a game whose answer you know, before you show it an image:

# %%
product = CallableGame(2, 1, lambda z: 3 * z[:, 0] * z[:, 2] + z[:, 1])  # part 0 of the query and the retrieved part add 3 together
print(occlude_pairs(product)["between"])

# %% [markdown]
# ## Two classes for users
#
# A class says which estimator runs. The base classes do the rest: `InputMethod` for parts of the images, `LayerMethod` for positions of a
# layer. `order` is 2 for pairs and 1 for single parts.
#
# An estimator that draws coalitions gets its budget from `self._budget(n_samples)`, which is `_default_samples` if the user names none. It
# calls `default_generator(generator)` of `captum_pairwise.estimators.draws` itself, once for each game, so that every pair of a batch gets
# the same numbers as alone.


# %%
class PairwiseOcclusion(InputMethod):
    """Occlusion of pairs of parts of two images."""

    order, _default_samples = 2, 0

    def _explain(self, pairs, n_samples, generator):
        return pairs.explain(occlude_pairs)


class LayerPairwiseOcclusion(LayerMethod):
    """Occlusion of pairs of positions of a layer."""

    order, _default_samples = 2, 0

    def _explain(self, pairs, n_samples, generator):
        return pairs.explain(occlude_pairs)


encoder = cp.backbones.create("efficientnet_lite0")
model = cp.SimilarityWrapper(encoder)
left, right, _ = skimage.data.stereo_motorcycle()
photos = encoder.preprocess(left), encoder.preprocess(right)
occlusion = LayerPairwiseOcclusion(model, encoder.features).interactions(photos)
print(occlusion)

# %% [markdown]
# ## The battery
#
# `check_method` runs 28 checks on a tiny network: a part without influence gets no credit, a batch gives the same as its pairs, the model
# is left as it was even after Ctrl-C, chunks, threads, devices and precision change nothing, and more.

# %%
report = cp.testing.check_method(PairwiseOcclusion, order=2, raise_failures=False)
print(f"{sum(outcome.status == 'passes' for outcome in report.outcomes)} checks pass")
for failure in report.failures:
    print(f"{failure.check}: {failure.message[:150]}")

# %% [markdown]
# It found two things.
#
# * **default device**: `torch.eye` and its neighbours make tensors on the *default* device, which a user may have changed. That is a fault:
#   name the device and the dtype.
# * **completeness**: our credits do not sum to $v(N) - v(\emptyset)$, and no theorem says that they should. That is no fault: exempt the
#   check, with the reason, which the report repeats.


# %%
def occlude_pairs_anywhere(game: Game) -> Interactions:
    """`occlude_pairs`, whatever the default device and dtype are."""
    with torch.device("cpu"):
        return occlude_pairs(game)


# %% [markdown]
# In a file of your own, pass `device="cpu"` and a `dtype` to each call that makes a tensor; games move rows to their network. A method that
# draws also exempts "renamed players" and "swapped images", because its coalitions depend on the ids of the parts, and "dummy players" if
# its estimate of them is noisy.


# %%
class CheckedOcclusion(PairwiseOcclusion):
    """`PairwiseOcclusion`, mended."""

    def _explain(self, pairs, n_samples, generator):
        return pairs.explain(occlude_pairs_anywhere)


reasons = {"completeness": "it measures joint effects and shares nothing out"}
print(cp.testing.check_method(CheckedOcclusion, order=2, exempt=reasons, checks=["default device", "dummy players", "completeness"]))

# %% [markdown]
# In a test suite, `check_method(CheckedOcclusion, order=2, exempt=reasons)` is the whole test.
#
# ## Is it any good?
#
# Compare it with the default method, whose pairs predict the similarity when parts are missing at random:

# %%
default = cp.LayerFactorisedInteractions(model, encoder.features).interactions(photos)
correlation = torch.corrcoef(torch.stack([occlusion["between"].flatten(), default["between"].flatten()]))[0, 1].item()
print(f"correlation of the pairs with the default method's: {correlation:.2f}")

# %% tags=["thumbnail"]
cp.visualization.matches_figure(occlusion, photos, n_matches=6)

# %% [markdown]
# Occlusion looks at one situation, in which all other parts are present. On this pair that is nearly enough. The two differ where parts
# repeat each other: each of them can then be missed, and occlusion gives them little. [How it works](08_how_it_works.ipynb) says which
# average answers which question, and [Compare methods](07_compare_methods.ipynb) measures methods on masks, mosaics and planted patches.
#
# To contribute a method to the package, see
# [CONTRIBUTING](../CONTRIBUTING.md#add-a-method).
