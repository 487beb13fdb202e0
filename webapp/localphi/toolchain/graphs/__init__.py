"""Passes over the graph of a model folder: another graph over the same weights, for another engine.

nodes            writing pieces of a graph
paged            adds to a folder the graph for the engine that serves many conversations at once
paged_rewrite    how that graph comes from the other one
paged_rotary     the tables by which queries and keys are turned
paged_step       where the tokens of a step belong
paged_attention  attention over a cache in blocks
paged_answer     what a paged graph answers
commands         the command line
"""
