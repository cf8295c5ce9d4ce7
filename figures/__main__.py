"""`python -m figures F2`: the command `symtheory figures` on its own."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["figures"]
    runpy.run_module("symtheory", run_name="__main__")
