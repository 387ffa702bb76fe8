"""`python -m ganfoundry NAME ...`: the console script without its file."""

from ganfoundry.cli import main

if __name__ == '__main__':
    main()
