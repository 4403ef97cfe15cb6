"""Explanations of a pair or a ranking in one call: what to run is chosen by the model, and the result is put into words."""
