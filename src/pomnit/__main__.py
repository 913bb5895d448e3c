"""``python -m pomnit``."""

from pomnit.doors.cli import main

if __name__ == "__main__":
    main()
