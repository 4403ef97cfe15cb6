"""Estimators: functions `(game, ...) -> Interactions`. They see numbers, never an image, a layer or Captum."""
