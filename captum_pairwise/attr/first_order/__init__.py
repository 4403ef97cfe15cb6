"""Methods that credit parts of each image."""
