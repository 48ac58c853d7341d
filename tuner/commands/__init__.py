"""The commands of the command line, one file per subject. Heavy modules are imported inside the commands."""
