"""`python -m proofs_check P1.4`: the command `symtheory check` on its own."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["check"]
    runpy.run_module("symtheory", run_name="__main__")
