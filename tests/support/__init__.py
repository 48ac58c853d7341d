"""What tests and benchmarks share: jobs without training, processes, a PostgreSQL server, made-up studies, a browser."""
