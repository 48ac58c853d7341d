"""Optuna's dashboard with our figures, notes and files: its server and its access guard."""
