"""``python -m sottovoce``, for launchers that start several processes."""

from sottovoce.cli.main import main

if __name__ == "__main__":
    main()
