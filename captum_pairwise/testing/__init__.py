"""A battery of checks for attribution methods of similarities, the same for those of this package and for yours.

>>> import captum_pairwise as cp
>>> from captum_pairwise.testing import check_method
>>> report = check_method(lambda model: cp.LayerFactorisedShapleyTaylor(model, model.query_encoder.layer), order=2, players="layer_mask",
...     checks=["renamed players", "dummy players"])
>>> print(report)
passes          renamed players
passes          dummy players
"""

from captum_pairwise.testing.battery import CHECKS, Outcome, Report, check_method
from captum_pairwise.testing.trial import CheckFailed

__all__ = ["CHECKS", "CheckFailed", "Outcome", "Report", "check_method"]
