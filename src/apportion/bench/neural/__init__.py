"""The neural tier: the benchmark's tasks in the hands of a small transformer, every quantity still exact.

Needs torch (``pip install "apportion[neural]"``); nothing outside this package imports it, and this package
imports torch only where it runs the model.

model      the transformer, as a function of a flat vector of parameters
text       what it reads: the tokens of a context, and the words it may be told
process    a tabular task whose state remembers the window that the policy reads
learned    the checkpoint it starts from: a model of the text of rollouts
task       the task that the rest of the benchmark measures
time       how long it takes, before it runs
policy     what methods may ask of it: log-probabilities in hindsight, and of an answer
"""
