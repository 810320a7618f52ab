"""What a worker does with a request: read the image, score it, encode the answer."""
