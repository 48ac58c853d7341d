"""What tests and benchmarks share: jobs without training, processes, PostgreSQL, made-up studies, a browser."""
