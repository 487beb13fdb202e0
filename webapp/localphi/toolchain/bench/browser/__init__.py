"""How fast a model answers in a browser: drives the /bench page of a server, and brings peers along.

drive.py    starts the browser, the page's run, and watches the heap of its workers meanwhile
heap.py     what V8 counts in the workers of a page
peers.py    other programs on the same weights: what they need, and how the page gets it
peers/      their code for the page; none of it is in what a server serves
"""
