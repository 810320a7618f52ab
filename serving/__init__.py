"""The HTTP server: `uad serve`. FastAPI and engines, no Paddle, no Prefect, no scikit-learn.

A request's walk:

    routes     who may ask, how much at once        (the front: one uvicorn process)
    products   which version serves, counted uses
    engines    a queue in front of the engines
    work       parse, decode, judge, draw, encode   (where the engine is)
"""
