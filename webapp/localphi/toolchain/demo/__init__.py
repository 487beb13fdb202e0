"""The bundled demo model: its facts, its training text, its training and its export.

`python -m localphi.toolchain.demo all` makes `models/bundled/localphi-demo` from this package alone.
"""
