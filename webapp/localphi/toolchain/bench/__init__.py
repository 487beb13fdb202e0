"""How fast a model answers: its own engine and server, and any OpenAI-compatible server beside them.

plan.py      what is asked: the cells of the tables, and prompts that nothing has read before
targets.py   who is asked: the engine client, a server by HTTP, a server of ours that is started for it
answers.py   one answer on the clock, and what its moments tell
measure.py   rounds in turn over all cells and targets
browser/     the same in a browser, by the page /bench
report.py    medians and spread: tables, one line of JSON;  plot.py: the picture
"""
