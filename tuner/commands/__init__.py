"""What the command line offers, a file a subject. Heavy modules are imported inside the commands."""
