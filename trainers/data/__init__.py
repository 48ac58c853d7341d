"""Images and labels: one file per source, `task.py` joins them."""
