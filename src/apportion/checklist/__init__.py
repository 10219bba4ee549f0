"""The reporting checklist: its items, a form to fill, and what can be proven of it from a run."""
