from pathlib import Path

import pytest
from data_sets import make_coco, make_products, make_voc, tiny_image_encoder

from captum_pairwise import backbones
from captum_pairwise.datasets import __main__ as command
from captum_pairwise.datasets import coco, conditional_nearest_neighbours, read_pairs, stanford_online_products, voc


@pytest.fixture(autouse=True)
def use_tiny_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "BACKBONES", {"tiny": None})
    monkeypatch.setattr(backbones, "create", lambda name, file: tiny_image_encoder())


def run(data_set: str, root: Path, out: Path, *options: str) -> int:
    return command.write_pair_list([data_set, "--root", str(root), "--backbone", "tiny", "--out", str(out), *options])


@pytest.mark.parametrize(
    ("name", "make", "train", "val", "options"),
    [
        ("voc", make_voc, lambda root: voc(root, "train"), lambda root: voc(root, "val"), ()),
        ("coco", make_coco, lambda root: coco(root, "train"), lambda root: coco(root, "val"), ()),
        (
            "sop",
            make_products,
            lambda root: stanford_online_products(root, "train"),
            lambda root: stanford_online_products(root, "test"),
            (),
        ),
        ("sop", make_products, *2 * [lambda root: stanford_online_products(root, "test", "class")], ("--condition", "class")),
    ],
)
def test_a_command_writes_the_mined_pairs(tmp_path, capsys, name, make, train, val, options):
    root = make(tmp_path / "data")
    assert run(name, root, tmp_path / "pairs.csv", "--seed", "3", "--batch-size", "2", *options) == 0
    pairs = conditional_nearest_neighbours(train(root), val(root), tiny_image_encoder(), seed=3, show_progress=False)
    assert read_pairs(tmp_path / "pairs.csv", root) == pairs
    printed = capsys.readouterr().out
    assert f"{len(pairs)} pairs: {tmp_path / 'pairs.csv'}" in printed and f"relative to {root}: pass this root" in printed


def test_a_file_in_the_root_is_read_without_a_root(tmp_path, capsys):
    root = make_voc(tmp_path)
    assert run("voc", root, root / "pairs.csv", "--limit", "2") == 0
    assert "relative to" not in capsys.readouterr().out
    assert [pair.retrieved for pair in read_pairs(root / "pairs.csv")] == [image.image for image in voc(root, "val").images[:2]]


def test_the_cache_stores_embeddings(tmp_path, monkeypatch):
    root = make_voc(tmp_path)
    for name in ("first", "second"):
        assert run("voc", root, root / f"{name}.csv", "--cache", str(tmp_path / "cache.safetensors")) == 0
        monkeypatch.setattr(type(tiny_image_encoder()), "forward", None)  # all embeddings are in the cache
    assert (root / "first.csv").read_bytes() == (root / "second.csv").read_bytes()


def test_wrong_options_are_reported_without_a_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("voc", tmp_path, tmp_path / "pairs.csv")
    assert "VOCdevkit/VOC2012" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("voc", make_voc(tmp_path), tmp_path / "pairs.csv", "--limit", "0")
    assert "--limit" in capsys.readouterr().err and not (tmp_path / "pairs.csv").exists()


def test_an_interrupted_command_names_the_option_to_continue(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "write_pairs", interrupt)
    assert run("voc", make_voc(tmp_path), tmp_path / "pairs.csv") == command.INTERRUPTED
    assert "--cache" in capsys.readouterr().err
