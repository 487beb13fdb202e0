"""Entry of `python -m localphi.toolchain.graphs`."""

from localphi.toolchain.graphs.commands import main

if __name__ == "__main__":
    main(prog_name="python -m localphi.toolchain.graphs")
