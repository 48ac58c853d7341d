"""One driver per study: a lock by a file or by PostgreSQL."""
