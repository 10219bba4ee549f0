"""Speed and memory, measured against the peers in one run: ``make bench``."""
