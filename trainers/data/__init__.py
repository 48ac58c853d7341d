"""Images and labels: one file per source; `task.py` makes a task from any of them."""
