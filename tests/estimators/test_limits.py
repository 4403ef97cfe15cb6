import pytest

from captum_pairwise.estimators import limits


def test_an_enumeration_that_just_fits_into_memory_is_allowed(monkeypatch):
    """All coalitions of 5 players in float64."""
    n_bytes = 2**5 * 5 * 8
    monkeypatch.setattr(limits, "get_memory_bytes", lambda device: n_bytes)
    limits.refuse_too_many(5, 2**5, "of one image")
    monkeypatch.setattr(limits, "get_memory_bytes", lambda device: n_bytes - 1)
    with pytest.raises(ValueError, match="Expected fewer players: all 2\\*\\*5 coalitions"):
        limits.refuse_too_many(5, 2**5, "of one image")
