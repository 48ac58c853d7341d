"""One driver a study: the lock, by a file or by PostgreSQL."""
