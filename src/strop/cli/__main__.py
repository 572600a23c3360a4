"""`python -m strop.cli`: the command line without its script."""

from strop.cli import main

if __name__ == "__main__":
    main()
