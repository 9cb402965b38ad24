"""`python -m promptattn.cli`."""

from promptattn.cli import main

if __name__ == "__main__":
    main()
