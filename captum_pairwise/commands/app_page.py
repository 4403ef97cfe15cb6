"""The web page of `captum-pairwise app`, in Gradio: two photos or two sentences in, the page of their explanation out."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, final

import captum_pairwise as cp
from captum_pairwise.commands.examples import SENTENCES, find_example_photos
from captum_pairwise.commands.shared_options import DEFAULT_MODEL
from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.models.named_models import MINILM, AnyModel, load_model
from captum_pairwise.models.text_towers import tell_text_towers

NAMES = ("A", "B")
UPLOADS = "GRADIO_TEMP_DIR"  # the variable that names the folder of uploads
LARGEST_UPLOAD = "20mb"
DELETE_EVERY, DELETE_AFTER = 600, 3600  # seconds
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # Gradio's own are loaded from Google
PHOTO_HEIGHT, FRAME_HEIGHT = 280, 120  # pixels; the frame grows with its page
LONGEST_SENTENCE = 2000  # characters
MESSAGE_DURATION = 30  # seconds


@final
class AppModels:
    """The models that the page offers; each is loaded once, a built-in one when it is used first.

    Args:
        names: as for `load_model`, beside the built-in models. They are loaded at once, so that a wrong name is an error at the start.

    Raises:
        ValueError: there is no such model, or it reads a photo and a sentence.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._loaded: dict[str, AnyModel] = {name: load_model(name) for name in names}
        reads_text = {name: _tell_text_reader(name, model) for name, model in self._loaded.items()}
        self.for_photos = [*(name for name in names if not reads_text[name]), DEFAULT_MODEL]
        self.for_sentences = [*(name for name in names if reads_text[name]), MINILM]

    def load(self, name: str) -> AnyModel:
        """The model with this name; only names that the page offers are loaded.

        Raises:
            ValueError: the page does not offer it.
        """
        if name not in (*self.for_photos, *self.for_sentences):
            raise ValueError(f"Expected a model of the list, got {name!r}. Start the page with --model {name}.")
        if name not in self._loaded:
            self._loaded[name] = load_model(name)
        return self._loaded[name]


def _tell_text_reader(name: str, model: AnyModel) -> bool:
    """True if a model reads two sentences, False if it reads two photos.

    Raises:
        ValueError: it reads one of each; its sentence would be taken for a file of this computer.
    """
    query, retrieved = tell_text_towers(model)
    if query != retrieved:
        raise ValueError(
            f"Expected a model that reads two photos or two sentences, got {name}, which reads one of each. Use captum-pairwise explain."
        )
    return query


def build_app(gr: Any, models: AppModels) -> Any:
    """The page, a `gradio.Blocks`; `gr` is Gradio."""
    answer = partial(answer_user, gr, models)  # one function, so that Gradio lets one user after the other call it
    with gr.Blocks(title="Why are these similar?", analytics_enabled=False, delete_cache=(DELETE_EVERY, DELETE_AFTER)) as page:
        gr.Markdown("# Why are these two similar?")
        with gr.Tab("Two photos"):
            with gr.Row():
                photos = [_add_photo(gr, name) for name in NAMES]
            photo_inputs = _add_controls(gr, models.for_photos, photos, find_example_photos())
        with gr.Tab("Two sentences"):
            sentences = [gr.Textbox(label=f"Sentence {name}", max_length=LONGEST_SENTENCE) for name in NAMES]
            sentence_inputs = _add_controls(gr, models.for_sentences, sentences, SENTENCES)
        frame = gr.HTML(min_height=FRAME_HEIGHT, elem_id="explanation")
        for inputs in (photo_inputs, sentence_inputs):
            for trigger in inputs.triggers:
                cleared = trigger(str, None, frame, queue=False, api_visibility="private")  # an error leaves no old answer
                cleared.then(answer, inputs.values, frame, scroll_to_output=True, api_visibility="private")
    return page


class _Inputs(NamedTuple):
    """The inputs of one tab: their values, and the events that ask for an answer."""

    values: list[Any]
    triggers: list[Callable[..., Any]]


def _add_photo(gr: Any, name: str) -> Any:
    sources = ["upload", "clipboard"]
    photo = gr.Image(label=f"Photo {name}", type="filepath", sources=sources, height=PHOTO_HEIGHT, elem_id=f"photo-{name}")
    photo.preprocess = _take_path  # Gradio would open the file, and end with a traceback where it is no image
    return photo


def _take_path(upload: Any) -> str | None:
    return None if upload is None else upload.path


def _add_controls(gr: Any, names: Sequence[str], pair: list[Any], examples: Sequence[tuple[str, str]]) -> _Inputs:
    """Add the list of models, the button and the examples below the inputs of a tab; an example is explained at once."""
    with gr.Row():
        model = gr.Dropdown(list(names), value=names[0], label="Model", scale=1)
        button = gr.Button("Explain", variant="primary", scale=2)
    triggers = [button.click]
    if examples:
        shown = gr.Examples([list(example) for example in examples], pair, label="Examples", api_visibility="private")
        triggers.append(shown.load_input_event.then)
    return _Inputs([model, *pair], triggers)


def answer_user(gr: Any, models: AppModels, name: str, query: str | None, retrieved: str | None) -> str:
    """The page of an explanation in a frame; every error becomes a message of one sentence."""
    if not query or not retrieved:
        raise gr.Error("Give both A and B first.", print_exception=False)
    try:
        model = models.load(name)
        return cp.explain(model, query, retrieved, transform=getattr(model, "transform", None))._repr_html_()
    except Exception as error:
        is_expected = isinstance(error, (ValueError, ImportError, OSError))
        message = str(error) if is_expected else f"{type(error).__name__}: {error}"
        for path in (query, retrieved):
            message = message.replace(path, Path(path).name)  # Gradio's folder says nothing to the user
        raise gr.Error(escape(message), duration=MESSAGE_DURATION, print_exception=not is_expected) from error


@contextmanager
def _keep_uploads(folder: str) -> Iterator[None]:
    """Let Gradio keep its uploads in a folder; it asks for it when the page is built."""
    previous = os.environ.get(UPLOADS)
    os.environ[UPLOADS] = folder
    try:
        yield
    finally:
        os.environ.pop(UPLOADS, None)
        if previous is not None:
            os.environ[UPLOADS] = previous


@contextmanager
def serve_page(models: AppModels, host: str, port: int, is_opened: bool) -> Iterator[str]:
    """Serve the page until the end of the block. Then its uploads are deleted.

    Yields:
        the address of the page.
    """
    with tempfile.TemporaryDirectory() as folder, _keep_uploads(folder):
        gr = import_optional("gradio", "the web page", "app")
        look = {"theme": gr.themes.Default(**FONTS), "footer_links": [], "quiet": True, "inbrowser": is_opened}
        private = {"share": False, "mcp_server": False, "enable_monitoring": False, "ssr_mode": False, "max_file_size": LARGEST_UPLOAD}
        page, shown = build_app(gr, models), [photo for pair in find_example_photos() for photo in pair]
        where = {"server_name": host, "server_port": port, "allowed_paths": shown, "prevent_thread_lock": True}
        _, address, _ = page.launch(**where, **look, **private)
        try:
            yield address
        finally:
            page.close(verbose=False)
