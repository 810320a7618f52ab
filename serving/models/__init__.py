"""Which model versions are served: products, loading, registry health, shadow."""
