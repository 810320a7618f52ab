"""What is done with a product: store its images, train, evaluate, compare, look for drift.

The flows and the commands call these functions; nothing here knows Prefect.
"""
