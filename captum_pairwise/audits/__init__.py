"""The audit of a whole search: which parts make the matches of thousands of pairs, and what happens without them."""
