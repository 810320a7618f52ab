"""`python -m uad` is `uad`."""

from uad.cli import main

if __name__ == "__main__":
    main()
