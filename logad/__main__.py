"""`python -m logad` is `logad`."""

from logad.cli import main

main()
