"""Files that are read and written safely, and optional packages."""
