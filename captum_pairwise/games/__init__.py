"""From a model and a batch of pairs to cooperative games."""
