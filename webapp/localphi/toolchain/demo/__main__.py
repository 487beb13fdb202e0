"""Entry of `python -m localphi.toolchain.demo`."""

from localphi.toolchain.demo.commands import main

if __name__ == "__main__":
    main(prog_name="python -m localphi.toolchain.demo")
