"""The models that the web page offers, and its answers."""

import os
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from captum_pairwise.commands import app_page
from captum_pairwise.commands.app_page import AppModels, answer_user, serve_page
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder


class Words(TokenEncoder):
    def forward(self, ids):
        return ids.float()


def make_words():
    return Words(nn.Identity(), None)


def make_photos():
    return nn.Conv2d(3, 2, 4)


def make_broken():
    class Broken(nn.Module):
        transform = staticmethod(lambda photo: torch.zeros(3, 8, 8))

        def forward(self, images):
            raise RuntimeError("<b>broken</b>")

    return Broken()


def make_mixed():
    return SimilarityWrapper(make_words(), make_photos())


class Message(Exception):
    def __init__(self, text, **options):
        super().__init__(text)
        self.options = options


GRADIO = SimpleNamespace(Error=Message)
WORDS, PHOTOS, BROKEN = (f"{__name__}:{name}" for name in ("make_words", "make_photos", "make_broken"))


def test_models_of_the_command_line_come_first_and_are_loaded_once():
    models = AppModels([WORDS, PHOTOS])
    assert models.for_photos == [PHOTOS, "efficientnet_lite0"] and models.for_sentences == [WORDS, "minilm"]
    assert models.load(PHOTOS) is models.load(PHOTOS)


def test_a_visitor_cannot_name_other_code():
    with pytest.raises(ValueError, match="Expected a model of the list"):
        AppModels([]).load(PHOTOS)
    with pytest.raises(Message, match="Expected a model of the list") as caught:
        answer_user(GRADIO, AppModels([]), PHOTOS, "a.jpg", "b.jpg")
    assert caught.value.options["print_exception"] is False


def test_a_wrong_name_is_an_error_at_the_start():
    with pytest.raises(ValueError, match="nobody"):
        AppModels([f"{__name__}:nobody"])


def test_a_model_of_a_photo_and_a_sentence_is_refused():
    with pytest.raises(ValueError, match=r"two photos or two sentences, got .*make_mixed, which reads one of each"):
        AppModels([PHOTOS, f"{__name__}:make_mixed"])


@pytest.mark.parametrize("previous", [None, "a folder"])
def test_the_folder_of_uploads_is_restored_after_an_error(monkeypatch, previous):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    if previous is not None:
        monkeypatch.setenv("GRADIO_TEMP_DIR", previous)
    during = []
    monkeypatch.setattr(app_page, "import_optional", lambda *names: during.append(os.environ["GRADIO_TEMP_DIR"]) or 1 / 0)
    with pytest.raises(ZeroDivisionError), serve_page(AppModels([]), "127.0.0.1", 0, False):
        pass
    assert os.environ.get("GRADIO_TEMP_DIR") == previous != during[0]


@pytest.mark.parametrize("pair", [(None, None), ("a.jpg", None), ("", "b.jpg")])
def test_missing_inputs_are_asked_for(pair):
    with pytest.raises(Message, match="both A and B"):
        answer_user(GRADIO, AppModels([]), "minilm", *pair)


def test_markup_in_an_error_is_shown_as_text(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"")
    with pytest.raises(Message, match=r"^Expected photo\.png to be an image"):
        answer_user(GRADIO, AppModels([BROKEN]), BROKEN, str(photo), str(photo))
    (tmp_path / "<i>.png").write_bytes(b"")
    with pytest.raises(Message, match=r"^Expected &lt;i&gt;\.png to be an image"):
        answer_user(GRADIO, AppModels([BROKEN]), BROKEN, str(tmp_path / "<i>.png"), str(photo))
    Image.new("RGB", (8, 8)).save(photo)
    with pytest.raises(Message, match="&lt;b&gt;broken&lt;/b&gt;"):
        answer_user(GRADIO, AppModels([BROKEN]), BROKEN, str(photo), str(photo))
