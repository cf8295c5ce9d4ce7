"""`python -m symtheory` and the `symtheory` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from symtheory.cli import main as run

    run()


if __name__ == "__main__":
    main()
