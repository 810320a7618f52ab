"""Processes that run the engines: the pool, a worker, its request queue and messages."""
