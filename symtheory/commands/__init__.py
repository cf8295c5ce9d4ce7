"""The commands of the command line, one per file.

A command NAME is the function `command` of the module `_NAME`; its docstring is its help. Nothing
heavy is imported before it runs.
"""

COMMANDS = (
    "run",
    "models",
    "discover",
    "derive",
    "simulate",
    "syre",
    "check",
    "figures",
    "cite",
)
