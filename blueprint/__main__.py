"""`python -m blueprint` is the command `blueprint`."""

from blueprint.cli.main import main

if __name__ == "__main__":
    main()
