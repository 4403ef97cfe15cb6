"""The pairs of a search from tables and iterables."""

import pytest

from captum_pairwise.audits.search_pair import SearchPair, read_search_pairs

arrow = pytest.importorskip("pyarrow", reason="pip install 'captum-pairwise[audit]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'captum-pairwise[audit]'")

ROWS = [
    {"query": "a.jpg", "hit": "b.jpg", "score": 0.5, "label": "correct", "group": "cup", "query_logo_mask": "m.png", "tag_shop": "x"},
    {"query": "a.jpg", "hit": "c.jpg", "score": None, "label": "0", "group": "cup", "query_logo_mask": None, "tag_shop": "y"},
]


def write_csv(file):
    lines = [",".join(ROWS[0]), *(",".join("" if value is None else str(value) for value in row.values()) for row in ROWS)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_csv_and_parquet_are_the_same_pairs(tmp_path):
    write_csv(tmp_path / "pairs.csv")
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "pairs.parquet")
    first, second = (read_search_pairs(tmp_path / name) for name in ("pairs.csv", "pairs.parquet"))
    assert first == second
    assert first[0].query == str(tmp_path / "a.jpg") and first[0].masks == {("query", "logo"): str(tmp_path / "m.png")}
    assert [pair.is_correct for pair in first] == [True, False]
    assert [pair.tags for pair in first] == [{"shop": "x"}, {"shop": "y"}]


def test_keys_depend_on_the_pair_and_not_on_its_place():
    rows = [("a", "b"), ("a", "c"), ("a", "b")]
    keys = [pair.key for pair in read_search_pairs(rows)]
    assert len(set(keys)) == 3
    assert [pair.key for pair in read_search_pairs([("x", "y"), *rows])][1:] == keys


def test_groups_are_the_label_where_there_is_none():
    pairs = read_search_pairs([{"query": "a", "hit": "b", "group": "1", "hit_group": name} for name in ("1", "2", "")])
    assert [pair.is_correct for pair in pairs] == [True, False, None]


def test_a_pair_is_read_back_from_itself():
    pair = read_search_pairs(ROWS)[0]
    assert read_search_pairs([pair]) == [pair] and isinstance(pair, SearchPair)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one pair"),
        ([{"query": "a"}], "got no hit in row 1"),
        ([{"query": "a", "hit": "b", "label": "cat"}], "got 'cat' in row 1"),
        ([{"query": "a", "hit": "b", "score": "high"}], "Expected a number as score"),
        ([{"query": "a", "hit": "b", "key": "1"}, {"query": "a", "hit": "c", "key": "1"}], "got '1' twice"),
        (["ab"], "Expected pairs"),
    ],
)
def test_what_is_no_pair_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        read_search_pairs(rows)
