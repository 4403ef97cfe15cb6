"""The recipes of the page: results of stores become the pairs of a brute-force search."""

import re
from pathlib import Path

import numpy as np
import pytest
from code_blocks import read_code_blocks

from captum_pairwise.audits.search_pair import read_search_pairs

PAGE = Path(__file__).parent.parent.parent / "tutorials" / "audit_a_search.md"
N_PHOTOS, TOP = 12, 3


@pytest.fixture(scope="module")
def recipes():
    names = {}
    for block in read_code_blocks(PAGE.read_text(encoding="utf-8")):
        exec(block, names)
    return names


@pytest.fixture(scope="module")
def embeddings():
    rows = np.random.default_rng(0).normal(size=(N_PHOTOS, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


FILES = [f"{number}.jpg" for number in range(N_PHOTOS)]


def check(pairs, embeddings):
    scores = embeddings @ embeddings.T - 4 * np.eye(N_PHOTOS)
    expected = {(FILES[query], FILES[hit]): scores[query, hit] for query in range(N_PHOTOS) for hit in np.argsort(-scores[query])[:TOP]}
    read = read_search_pairs(pairs)
    assert {(pair.query, pair.hit) for pair in read} == set(expected) and len(read) == len(expected)
    for pair in read:
        assert pair.score == pytest.approx(expected[pair.query, pair.hit], abs=1e-5)


def test_faiss(recipes, embeddings):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(8)
    index.add(embeddings)
    check(recipes["pairs_of_faiss"](index, embeddings, FILES, TOP), embeddings)


def test_lancedb(recipes, embeddings, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    rows = [{"file": file, "vector": vector.tolist()} for file, vector in zip(FILES, embeddings, strict=True)]
    check(recipes["pairs_of_lancedb"](lancedb.connect(tmp_path).create_table("photos", rows), TOP), embeddings)


def test_qdrant(recipes, embeddings):
    qdrant = pytest.importorskip("qdrant_client")
    client = qdrant.QdrantClient(":memory:")
    models = qdrant.models
    client.create_collection("photos", vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE))
    rows = zip(FILES, embeddings, strict=True)
    points = [models.PointStruct(id=k, vector=vector.tolist(), payload={"file": file}) for k, (file, vector) in enumerate(rows)]
    client.upsert("photos", points)
    check(recipes["pairs_of_qdrant"](client, "photos", TOP), embeddings)


def test_rows_of_pgvector(recipes, embeddings):
    """The statement itself needs PostgreSQL, which no test starts: only its rows are tested."""
    scores = embeddings @ embeddings.T - 4 * np.eye(N_PHOTOS)
    rows = [(FILES[query], FILES[hit], scores[query, hit]) for query in range(N_PHOTOS) for hit in np.argsort(-scores[query])[:TOP]]
    check(recipes["pairs_of_rows"](rows), embeddings)
    statement = re.search(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert statement is not None and [f"AS {name}" in statement[1] for name in ("query", "hit", "score")] == [True] * 3
