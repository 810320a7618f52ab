"""The HTTP server: `uad serve`. FastAPI and engines, no Paddle, no Prefect, no scikit-learn.

What happens to a request, in this order:

    api/routes, api/request_handler   admission, body     (the front: one uvicorn process)
    models/products                   which version serves, counted uses
    workers/pool, workers/worker      a queue, and a socket to each engine process
    inference/request_processing      parse, decode, score, draw, encode   (an engine process)
"""
