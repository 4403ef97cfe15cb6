"""Forward passes in batches, and single layers of a network."""
