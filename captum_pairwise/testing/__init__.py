"""One battery of checks for every attribution method of similarities, of this package and of yours.

Each check tests one promise of an explanation: players with other ids get the same credit, parts that the similarity ignores get none, a
batch gives the same as its pairs, the model stays the same even if a forward pass fails, and about twenty more. `CHECKS` lists them in
order; the first line of a check's docstring states the promise.

A method of your own takes a `SimilarityWrapper` and, if it explains a layer, the layer. Its `attribute((query, retrieved), ...)` returns a
map for each image (order 1) or the pairs of their parts (order 2), as the methods here do. Tell the battery how to build the method, and
which argument takes the players:

>>> import captum_pairwise as cp
>>> from captum_pairwise.testing import check_method
>>> report = check_method(
...     lambda model: cp.LayerFactorisedShapleyTaylor(model, model.query_encoder.layer),
...     order=2,
...     players="layer_mask",
...     checks=["renamed players", "dummy players"],
... )
>>> print(report)
passes          renamed players
passes          dummy players

Without `checks`, all checks run, on a tiny network in float64 with 4 + 6 players, in a few seconds. A failed check raises `CheckFailed`;
with `raise_failures=False`, the failure is in the report. If your method does not make a promise, exempt it, with the reason:

>>> exempt = {"linear credit": "falls of the similarity are cut off below 0"}
>>> arguments = {"sliding_window_shapes": 4, "strides": 4}
>>> print(check_method(cp.SBSM, order=1, players=None, arguments=arguments, exempt=exempt, checks=["linear credit"]))
does not apply  linear credit: falls of the similarity are cut off below 0

In a test suite, one line for each method is enough: `check_method(MyMethod, order=1)`. `thorough=True` is for a nightly run.

An encoder of your own: `print(check_model(encoder, images, layer=encoder.layer4))` says if it is safe to explain, and what was found.
"""

from captum_pairwise.testing.battery import CHECKS, Outcome, Report, check_method
from captum_pairwise.testing.model_check import MODEL_CHECKS, check_model
from captum_pairwise.testing.trial import CheckFailed

__all__ = ["CHECKS", "MODEL_CHECKS", "CheckFailed", "Outcome", "Report", "check_method", "check_model"]
