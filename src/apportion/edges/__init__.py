"""Edges: where batches are made from, and turned into, what other software holds."""
