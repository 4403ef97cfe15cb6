"""One battery of checks for every attribution method of similarities, those of this package and yours.

Explanations are trusted for what they promise, so each promise is a check with a name: that players with other ids get the same credit,
that what the similarity ignores gets none, that a batch is its pairs, that the model leaves as it came even where a forward pass fails,
and two dozen more. `CHECKS` has them all, in order; the first line of each one's docstring says what holds.

A method of your own takes a `SimilarityWrapper` and, if it looks inside, a layer; its `attribute((query, retrieved), ...)` returns a map
for each image (order 1) or the pairs of their parts (order 2), as the methods here do. Say how it is built, and how it takes the players:

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

Without `checks` all are run, on a tiny network in float64 with 4 + 6 players, in a few seconds. A check that fails raises `CheckFailed`,
whose message says what was expected; with `raise_failures=False` it stands in the report. What a method does not promise is exempt, with
the reason, which the report repeats:

>>> exempt = {"linear credit": "falls of the similarity are cut off below 0"}
>>> arguments = {"sliding_window_shapes": 4, "strides": 4}
>>> print(check_method(cp.SBSM, order=1, players=None, arguments=arguments, exempt=exempt, checks=["linear credit"]))
does not apply  linear credit: falls of the similarity are cut off below 0

In a test suite one line a method is enough, `check_method(MyMethod, order=1)`; `thorough=True` is for a nightly run.
`python -m captum_pairwise.testing` runs the battery over every class of this package and prints the matrix.
"""

from captum_pairwise.testing.battery import CHECKS, Outcome, Report, check_method
from captum_pairwise.testing.trial import CheckFailed

__all__ = ["CHECKS", "CheckFailed", "Outcome", "Report", "check_method"]
