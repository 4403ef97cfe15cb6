"""Methods that credit pairs of parts, one of each image."""
