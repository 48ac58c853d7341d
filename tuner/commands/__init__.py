"""The commands of the command line, one file per subject; `cli.py` lists them. They import heavy modules when run."""
