"""`python -m kpodx` is the command `kpodx`."""

from kpodx.cli import main

main()
