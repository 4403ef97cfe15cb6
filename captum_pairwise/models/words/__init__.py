"""Sentences as token ids: encoders, players, the words as they are written, and pooling."""
