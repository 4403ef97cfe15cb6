"""The page *Your model in five lines*: each block runs on a tiny random model, and its numbers are right."""

import five_line_models
import pytest
import torch
import your_model_page as page

import captum_pairwise as cp

BLOCKS = {block.title: block for block in page.read_blocks()}
EACH = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
PRECISION = 1e-6  # a few roundings of values of order one in float32
NETWORK_PRECISION = 5e-6  # networks round too, and those here amplify it: their weights are far from an initialisation


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    five_line_models.write_photos(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def test_every_block_has_a_model_of_its_own():
    assert [*BLOCKS] == [*five_line_models.FAMILIES]


@EACH
def test_a_block_has_at_most_five_lines_and_no_long_ones(block):
    assert 0 < block.n_lines <= page.MOST_LINES
    assert all(len(line) <= 140 for line in block.code.splitlines())


@EACH
def test_the_first_part_of_a_block_makes_what_its_tiny_model_replaces(block):
    family = five_line_models.FAMILIES[block.title]
    if not family.runs_setup:
        assert {*family.make()} <= page.list_assigned(block)


@EACH
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_block_runs_and_its_numbers_are_those_of_the_library_itself(block, folder):
    names = page.run_block(block)
    saved = (folder / "why.html").read_text()
    assert saved.lower().startswith("<!doctype html>") and len(saved) > 10_000
    pairs, expected = five_line_models.FAMILIES[block.title].compare(names)
    scale = max(1.0, expected.abs().max().item())
    assert (pairs.double() - expected.double()).abs().max() <= NETWORK_PRECISION * scale
    assert page.measure_gap(names) <= PRECISION
    assert pairs.any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("distance", ["l2", "dot", "cosine"])
def test_distances_of_lancedb_are_other_similarities(distance):
    lancedb = pytest.importorskip("lancedb")
    names = five_line_models.make_search()
    table = lancedb.connect("photos.lance").create_table("photos", names["rows"])
    hits = table.search(names["query_embedding"][0]).distance_type(distance).limit(5).to_list()
    scores = [-hit["_distance"] if distance == "l2" else 1 - hit["_distance"] for hit in hits]
    encoder = five_line_models.Normalised(names["network"])
    model = cp.SimilarityWrapper(encoder, similarity={"l2": "euclidean"}.get(distance, distance))
    ranking = cp.explain_ranking(model, "query.jpg", [hit["file"] for hit in hits], scores=scores)
    similarities = [why.similarity for why in ranking.explanations]
    torch.testing.assert_close(torch.tensor(similarities), torch.tensor(scores), rtol=0, atol=PRECISION)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("distance", ["EUCLID", "DOT"])
def test_scores_of_qdrant_are_other_similarities(distance):
    """Its Euclidean score is the distance, the square root of ours."""
    client = pytest.importorskip("qdrant_client")
    names = five_line_models.make_search()
    store = client.QdrantClient(":memory:")
    store.create_collection("photos", client.models.VectorParams(size=16, distance=client.models.Distance[distance]))
    points = [
        client.models.PointStruct(id=k, vector=row["vector"].tolist(), payload={"file": row["file"]}) for k, row in enumerate(names["rows"])
    ]
    store.upsert("photos", points)
    hits = store.query_points("photos", names["query_embedding"][0], limit=5).points
    model = cp.SimilarityWrapper(five_line_models.Normalised(names["network"]), similarity="euclidean" if distance == "EUCLID" else "dot")
    ranking = cp.explain_ranking(model, "query.jpg", [hit.payload["file"] for hit in hits])
    expected = [-(hit.score**2) if distance == "EUCLID" else hit.score for hit in hits]
    torch.testing.assert_close(torch.tensor(list(ranking.scores)), torch.tensor(expected), rtol=0, atol=PRECISION)
