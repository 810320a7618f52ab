"""Images named by a URL: which addresses may be fetched, and the fetcher."""
