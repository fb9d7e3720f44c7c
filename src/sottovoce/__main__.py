"""``python -m sottovoce``, which is what launchers of several processes start."""

from sottovoce.cli.main import main

if __name__ == "__main__":
    main()
