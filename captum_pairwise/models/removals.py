"""The names of the ways to remove a part inside a network."""

ATTENTION_MASK, MASK_TOKEN = "attention mask", "mask token"
