"""Untrusted weight files: tensors are read, no code runs, and tensors that do not fit are refused before use."""

import io
import json
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import assert_refused
from safetensors.torch import save_file
from torch import nn

from captum_pairwise import text
from captum_pairwise.files.weights import read_weights
from captum_pairwise.models.backbones import BACKBONES, _load_weights, create

STATE = {"layer.weight": torch.arange(6.0).view(2, 3)}
REFUSED = "to be a file of weights, got other or damaged content. Save only a state dict"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def make_attacks(trace):
    """Objects that write a file at `trace` when they run."""
    return {
        "a shell": Calls(os.system, f"touch '{trace}'"),
        "a process": Calls(subprocess.Popen, ["touch", str(trace)]),
        "Python": Calls(exec, f"open({str(trace)!r}, 'w')"),
        "an expression": Calls(eval, f"open({str(trace)!r}, 'w')"),
        "an open file": Calls(open, str(trace), "w"),
    }


@pytest.mark.parametrize("attack", make_attacks(""))
@pytest.mark.parametrize("writer", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("beside_tensors", [True, False])
def test_a_pickle_with_code_in_it_is_refused_and_nothing_runs(file, attack, writer, beside_tensors):
    trace = file.with_name("it ran")
    content = {"state_dict": STATE, "settings": make_attacks(trace)[attack]} if beside_tensors else make_attacks(trace)[attack]
    if writer == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=writer == "zip")
    assert_refused(lambda: read_weights(file), f"weights.pth {REFUSED}")
    assert not trace.exists()


@pytest.mark.parametrize("attack", make_attacks(""))
def test_the_attacks_run_when_unpickled(tmp_path, attack):
    """Without this the test above could not fail."""
    trace = tmp_path / "it ran"
    found = pickle.loads(pickle.dumps(make_attacks(trace)[attack]))
    if isinstance(found, subprocess.Popen):
        found.wait()
    elif isinstance(found, io.IOBase):
        found.close()
    assert trace.exists()


def test_a_safetensors_file_is_no_pickle(tmp_path):
    file, trace = tmp_path / "weights.safetensors", tmp_path / "it ran"
    torch.save({"state_dict": STATE, "settings": make_attacks(trace)["Python"]}, file)
    assert_refused(lambda: read_weights(file), f"weights.safetensors {REFUSED}")
    assert not trace.exists()


class Settings:
    """Settings that training code saves with the weights."""

    def __init__(self):
        self.rate = 0.1


def test_settings_without_code_are_left_out(file, monkeypatch):
    torch.save({"state_dict": STATE, "settings": Settings(), "path": Path("a")}, file)
    monkeypatch.setattr(Settings, "__new__", lambda *_: pytest.fail("it was made"))
    found = read_weights(file)
    assert list(found) == list(STATE) and torch.equal(found["layer.weight"], STATE["layer.weight"])


def header(content: dict, length: int | None = None, n_bytes: int = 24) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(n_bytes)


def entry(shape=(2, 3), end=24, kind="F32"):
    return {"layer.weight": {"dtype": kind, "shape": list(shape), "data_offsets": [0, end]}}


CLAIMS = {
    "a header of 2**60 bytes": header(entry(), 2**60),
    "a header of all bytes": header(entry(), 2**64 - 1),
    "a header that ends nowhere": header(entry(), 10_000),
    "a tensor of 4 TiB": header(entry((2**40,), 2**42)),
    "a shape that does not fill its bytes": header(entry((2, 300))),
    "bytes that overlap": header(entry() | {"other": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}),
    "an unknown kind of number": header(entry(kind="X99")),
    "no header": b"",
    "half a length": bytes(4),
    "no JSON": struct.pack("<Q", 4) + b"abcd",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_false_headers_are_refused(tmp_path, claim):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(CLAIMS[claim])
    tracemalloc.start()
    assert_refused(lambda: read_weights(file), f"weights.safetensors {REFUSED}")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_correct_header_is_read(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(header(entry()))
    assert torch.equal(read_weights(tmp_path / "weights.safetensors")["layer.weight"], torch.zeros(2, 3))


ODD = {
    "a stride of 0": torch.ones(1).expand(2**40, 2048),
    "no device": torch.ones(2, 3, device="meta"),
    "sparse": torch.ones(2, 3).to_sparse(),
    "complex": torch.ones(2, 3, dtype=torch.complex64),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # a warning of torch about sparse tensors
@pytest.mark.parametrize("odd", ODD)
def test_tensors_that_are_not_all_in_the_file_are_refused(file, odd):
    torch.save({"last_linear.weight": ODD[odd]}, file)
    assert_refused(lambda: read_weights(file), "plain tensors in weights.pth, got last_linear.weight: ")


def test_the_bytes_of_a_tensor_count_and_not_its_numbers(file):
    """A stride of 0 claims as many numbers as the file has bytes; in float64 they take eight times as many."""
    torch.save({"layer.weight": torch.ones(1, dtype=torch.float64).expand(1000)}, file)
    assert 1000 < file.stat().st_size < 8000
    assert_refused(lambda: read_weights(file), "plain tensors in weights.pth, got layer.weight: ")


@pytest.mark.parametrize("claimed", [2**40, 2**62])
def test_a_storage_larger_than_the_file_is_refused(file, claimed):
    """The number of elements of a storage, changed in the pickle itself."""
    torch.save({"layer.weight": torch.zeros(77)}, file)
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in content if name.endswith("data.pkl"))
    assert content[pickled].count(b"K\x4d") >= 2  # 77 elements, of the storage and of the tensor
    content[pickled] = content[pickled].replace(b"K\x4d", b"\x8a\x08" + claimed.to_bytes(8, "little"))
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    # newer torch refuses the storage, older torch reads a tensor of that size
    assert_refused(lambda: read_weights(file), f"weights.pth {REFUSED}|plain tensors in weights.pth, got layer.weight: .*{claimed}")


WRITERS = {
    "zip": ("weights.pth", torch.save),
    "legacy": ("weights.pth", partial(torch.save, _use_new_zipfile_serialization=False)),
    "safetensors": ("weights.safetensors", save_file),
}


def write_file(folder: Path, writer: str) -> Path:
    name, write = WRITERS[writer]
    write(STATE, folder / name)
    return folder / name


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_cut_at_any_byte_is_refused(tmp_path, writer):
    """Cuts after 0 bytes up to all bytes but one; a complete file is read."""
    file = write_file(tmp_path, writer)
    whole = file.read_bytes()
    for length in {*range(0, len(whole), 41), len(whole) - 1}:
        file.write_bytes(whole[:length])
        assert_refused(lambda: read_weights(file), f"{file.name} {REFUSED}")
    file.write_bytes(whole)
    assert torch.equal(read_weights(file)["layer.weight"], STATE["layer.weight"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # a warning of torch
@pytest.mark.parametrize("writer", WRITERS)
def test_flipped_bits_are_refused_or_read(tmp_path, writer):
    file = write_file(tmp_path, writer)
    whole = file.read_bytes()
    draws = torch.Generator().manual_seed(0)
    for _ in range(100):
        spoilt = bytearray(whole)
        for place in torch.randint(len(whole), (2,), generator=draws):
            spoilt[place] = int(torch.randint(256, (), generator=draws))
        file.write_bytes(spoilt)
        try:
            assert all(isinstance(value, torch.Tensor) for value in read_weights(file).values())
        except ValueError as refused:
            assert str(refused).startswith("Expected ")


# another network's weights


@pytest.mark.parametrize(
    ("change", "came"),
    [
        ({"1.weight": torch.ones(3)}, r"1 unknown \['1.weight'\]"),
        ({"0.weight": torch.ones(3, 2)}, r"1 of other shape or kind \['0.weight'\]"),
        ({"0.weight": torch.ones(2, 3, dtype=torch.int32)}, r"1 of other shape or kind \['0.weight'\]"),
        ({"0.weight": None}, r"1 missing \['0.weight'\]"),
    ],
)
def test_the_weights_of_another_network_are_refused(change, came):
    network = nn.Sequential(nn.Linear(3, 2))
    state = {name: value for name, value in (network.state_dict() | change).items() if value is not None}
    assert_refused(
        lambda: _load_weights(network, BACKBONES["resnet50"], state, "other.pth"),
        f"other.pth to hold .* Sequential, got .*{came}.*Use one of",
    )


def test_a_checkpoint_of_another_backbone_is_refused(file):
    torch.save(BACKBONES["efficientnet_lite0"].network({}).state_dict(), file)
    sentence = r"weights.pth to hold the weights of a DenseNet, got \d+ missing .* \d+ unknown"
    assert_refused(lambda: create("densenet121", file), sentence)


# folders of transformers


def bert(folder):
    """A folder of a tiny BERT, without weights."""
    settings = {
        "model_type": "bert",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]))
    return settings


@pytest.mark.parametrize("attack", ["Python", "an open file"])
def test_code_beside_a_sentence_encoder_does_not_run(tmp_path, attack):
    pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
    trace = tmp_path / "it ran"
    settings = bert(tmp_path)
    torch.save({"embeddings.word_embeddings.weight": make_attacks(trace)[attack]}, tmp_path / "pytorch_model.bin")
    assert_refused(lambda: text.sentence_encoder(tmp_path), "a model and a tokenizer by `save_pretrained` in .*, without code")
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "own.py").write_text(f"open({str(trace)!r}, 'w')")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (tmp_path / "config.json").write_text(json.dumps(settings | own))
    assert_refused(lambda: text.sentence_encoder(tmp_path), "a model and a tokenizer by `save_pretrained` in .*, without code")
    assert not trace.exists()


@pytest.mark.parametrize(
    "modules", ["", "{", "3", '["a"]', '[{"type": "x.Pooling", "path": "nowhere"}]', '[{"type": "x.Pooling"}]', "\xe4"]
)
def test_a_damaged_list_of_modules_is_refused(tmp_path, modules):
    pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
    (tmp_path / "modules.json").write_bytes(modules.encode("latin-1"))
    assert_refused(lambda: text.sentence_encoder(tmp_path), "modules.json in .* to list modules, got ")


def test_a_missing_folder_is_not_downloaded(tmp_path):
    pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
    assert_refused(lambda: text.sentence_encoder(tmp_path / "nowhere"), "the folder of a saved model, got .*nowhere")
