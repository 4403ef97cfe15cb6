"""The settings in a folder of sentence-transformers: its pooling, and the maximal number of tokens."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from captum_pairwise.models.words.pooling import check_pooling

FLAGS = {  # of older folders; several may be true
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_KEYS = {*FLAGS, "pooling_mode", "word_embedding_dimension", "embedding_dimension", "include_prompt"}
USUAL = {  # another value changes the embedding in a way that `TextEncoder` does not
    "include_prompt": True,
    "default_prompt_name": None,
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "processing_kwargs": {},
}


class SentenceSettings(NamedTuple):
    """The modes of pooling, and the maximal number of tokens of a sentence (None if the folder does not say it)."""

    pooling: tuple[str, ...] = ("mean",)
    max_tokens: int | None = None


def read_sentence_settings(folder: Path) -> SentenceSettings:
    """The settings of a folder of sentence-transformers; of another saved model the mean, without a limit.

    Raises:
        ValueError: it is no folder, is damaged, or its embedding needs more than pooling of the last states.
    """
    if not folder.is_dir():
        raise ValueError(f"Expected the folder of a saved model, got {folder}, which is no folder. Save one with `save_pretrained`.")
    try:
        kinds, pooling, settings = _read_modules(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # a file that is no JSON, or holds other JSON
        raise ValueError(f"Expected modules.json in {folder} to list modules, got {error!r}. Save the model anew.") from error
    if not kinds:
        return SentenceSettings()
    _refuse_unusual(kinds, pooling, settings)
    modes = pooling.get("pooling_mode", [mode for flag, mode in FLAGS.items() if pooling.get(flag)]) or ["mean"]
    return SentenceSettings(check_pooling(modes if isinstance(modes, (str, list)) else [modes]), settings.get("max_seq_length"))


def _read_modules(folder: Path) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """The types of the modules, the settings of the pooling, and the settings of the model and its tokens."""
    if not (folder / "modules.json").exists():
        return [], {}, {}
    steps = [(step["type"], folder / step["path"]) for step in json.loads((folder / "modules.json").read_text("utf-8"))]
    pooling = [path / "config.json" for kind, path in steps if kind.endswith(".Pooling")]
    others = [*folder.glob("sentence_*_config.json"), *folder.glob("config_sentence_transformers.json")]
    return [kind for kind, _ in steps], _read_settings(pooling), _read_settings(others)


def _read_settings(files: list[Path]) -> dict[str, Any]:
    """The settings in several files together."""
    return {name: value for file in files for name, value in dict(json.loads(file.read_text("utf-8"))).items()}


def _refuse_unusual(kinds: list[str], pooling: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse modules and settings that change the embedding in a way that `TextEncoder` does not."""
    names = [kind.split(".")[-1] if kind.startswith("sentence_transformers.") else kind for kind in kinds]
    others = [name for name in names if name not in ("Transformer", "Pooling", "Normalize")]
    if not others and [name for name in names if name != "Normalize"] != ["Transformer", "Pooling"]:
        others = [" + ".join(names)]
    others += [name for name in pooling if name not in POOLING_KEYS]
    others += [f"{name}={value!r}" for name, value in (settings | pooling).items() if value != USUAL.get(name, value)]
    if others:
        wish = "an embedding that is pooled from the last states, without prompts and other steps"
        raise ValueError(f"Expected {wish}, got {', '.join(others)}. Subclass cp.models.text.TokenEncoder.")
