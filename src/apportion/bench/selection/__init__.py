"""Which method to choose, from what was measured: the grid of settings, what it found, and whether advice holds there."""
