"""Real text worlds: TextWorld's Inform games and Reasoning Gym's problems, in the hands of seeded policies.

Needs ``pip install "apportion[worlds]"``; nothing outside this package imports it but its command, and it imports
either library only where it is used. Truth here is a Monte-Carlo estimate with its interval, never exact.

walks      what a world has to say, and how its policy walks in it
batches    how walks read as a batch, token probabilities of the policy included
sampler    the policy run again from a prefix, by replay
games      TextWorld's games: made from a seed, kept in a cache, their logic as a graph of states
textworld  the world of such games: who walks there, what is read, which commands the planner wanted
gym        the world of Reasoning Gym's sums: a solver that errs, and a checker of its steps
truth      advantages estimated from continuations, and how well credit agrees with them
marks      how well credit finds what the world's own planner or checker marks
record     the record of a game or problem: what it is, whose, and how its truth was estimated
measure    methods in a world, a line each
"""
