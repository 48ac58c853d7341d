"""Where jobs run: the executors, Ray and its workers, and the messages between workers and driver."""
