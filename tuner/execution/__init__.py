"""Where jobs run: the executor, Ray, its workers, and what passes between them and the driver."""
