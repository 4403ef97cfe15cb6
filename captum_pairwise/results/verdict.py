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
class Decision:
    """The decision on a pair by a threshold, and its evidence: credits of the game `v - threshold`, which are those of `v`.

    Attributes:
        similarity: of the pair.
        threshold: the similarity from which on a pair is accepted.
        raised: the sum of the parts that raise the similarity, in the map of the query and of the retrieved image: evidence for acceptance.
            None without maps.
        lowered: the sum of the parts that lower it, at most 0: evidence against. What an image leaves without its parts, plus both sums,
            is the margin.
    """

    similarity: float
    threshold: float
    raised: tuple[float, float] | None = None
    lowered: tuple[float, float] | None = None

    @property
    def margin(self) -> float:
        """The similarity minus the threshold."""
        return self.similarity - self.threshold

    @property
    def is_accepted(self) -> bool:
        """True if the similarity reaches the threshold."""
        return self.margin >= 0

    @property
    def label(self) -> str:
        """The decision in a word."""
        return "accepted" if self.is_accepted else "rejected"


@dataclass(frozen=True)
class Verdict:
    """An explanation in words.

    Attributes:
        question: the question that the explanation answers, the title of its picture.
        sentences: how similar the two are, and which parts the similarity rests on.
        trust: how far to trust it.
        warnings: what is wrong with the model, if anything is: they stand in a red band on the picture, a few words each.
        is_similar: False if the two are not similar.
        decision: the decision by a threshold, if one was given.
    """

    question: str
    sentences: tuple[str, ...]
    trust: Trust
    warnings: tuple[str, ...] = ()
    is_similar: bool = True
    decision: Decision | None = None

    def __str__(self) -> str:
        warnings = [f"Warning: {warning}." for warning in self.warnings]
        return " ".join([*warnings, *self.sentences, SENTENCES[self.trust.label]])
