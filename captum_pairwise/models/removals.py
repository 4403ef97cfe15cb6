"""The ways to remove a part inside a network."""

REMOVALS = ATTENTION_MASK, MASK_TOKEN = "attention mask", "mask token"
PRESENT = 0.5  # from this presence on, a part is there
