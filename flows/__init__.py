"""Prefect flows: ingest, fine-tune, evaluate, register, promote, and the chain of them, retrain.

Paths and ids pass between tasks, never arrays. Nothing needs a server: without PREFECT_API_URL
the command line starts an engine for the time of the command (`flows.engine`), with its state under
UAD_HOME. Call `flows.environment.prepare` before Prefect is first imported; the command line does.
"""
