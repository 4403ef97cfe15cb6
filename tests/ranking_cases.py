"""Ranked lists of photos and of sentences, for the tests of their figure and page."""

from viewer_cases import build_interactions, cell_players, photo, word_players

from captum_pairwise.results.verdict import Trust, Verdict

VERDICT = Verdict("Why?", ("They are alike.",), Trust("reliable", ("R² 0.9.",)))
QUERY_WORDS = ["a", "black", "cat", "sits"]
WORD_RESULTS = [["the", "kitten", "rests"], ["a", "rocket"], ["my", *["very"] * 40, "cat"]]


def build_photo_ranking(n_results):
    """A query and photos of several shapes, each 2×3 cells, with random credits."""
    results = [build_interactions(cell_players(2, 3), cell_players(2, 3), seed=10 * k) for k in range(n_results)]
    retrieved = [photo(30 + 6 * (k % 4), 60 - 12 * (k % 3), seed=k) for k in range(n_results)]
    scores = [0.9 - 0.04 * k for k in range(n_results)]
    return {
        "results": results,
        "query": photo(40, 40, seed=50),
        "retrieved": retrieved,
        "names": [f"name {k}" for k in range(n_results)],
        "scores": scores,
    }


def build_word_ranking():
    """A query of four words and three sentences, with random credits."""
    results = [build_interactions(word_players(4), word_players(len(words)), seed=10 * k) for k, words in enumerate(WORD_RESULTS)]
    return {
        "results": results,
        "query": QUERY_WORDS,
        "retrieved": WORD_RESULTS,
        "names": ["kitten", "rocket", "my cat"],
        "scores": [0.9, 0.8, 0.7],
    }
