"""`python -m xmod_extend`."""

from xmod_extend.cli import main

if __name__ == "__main__":
    main()
