"""The verdict on a pair, in words."""

from dataclasses import dataclass

RELIABLE, ROUGH, UNREADABLE = "reliable", "rough", "do not read this"
SENTENCES = {RELIABLE: "These numbers are reliable.", ROUGH: "These numbers are rough.", UNREADABLE: "Do not read this as an explanation."}


@dataclass(frozen=True)
class Trust:
    """The trust in the numbers of an explanation.

    Attributes:
        label: "reliable", "rough" or "do not read this".
        evidence: the numbers behind the label, one sentence each.
    """

    label: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """An explanation in words.

    Attributes:
        question: the question that the explanation answers, the title of its picture.
        sentences: how similar the two are, and which parts the similarity rests on.
        trust: how far to trust it.
        warnings: what is wrong with the model, if anything is: they stand in a red band on the picture, a few words each.
        is_similar: False if the two are not similar.
    """

    question: str
    sentences: tuple[str, ...]
    trust: Trust
    warnings: tuple[str, ...] = ()
    is_similar: bool = True

    def __str__(self) -> str:
        warnings = [f"Warning: {warning}." for warning in self.warnings]
        return " ".join([*warnings, *self.sentences, SENTENCES[self.trust.label]])
