"""Models of other libraries: recognised by their class, and converted; no library is imported before it is used."""
