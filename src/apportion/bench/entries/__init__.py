"""Who enters the benchmark: a module per family of methods, each with its ``ENTRANTS``."""
