import pytest

from captum_pairwise.files.atomic import write_atomically


def test_a_failed_write_leaves_the_file_and_no_draft(tmp_path):
    file = tmp_path / "numbers.csv"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), write_atomically(file) as draft:
        draft.write_text("half of the new")
        raise ZeroDivisionError
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_complete_write_replaces_the_file_and_makes_its_folder(tmp_path):
    file = tmp_path / "new" / "numbers.csv"
    for text in ("first", "second"):
        with write_atomically(file) as draft:
            draft.write_text(text)
        assert file.read_text() == text and list(file.parent.iterdir()) == [file]
