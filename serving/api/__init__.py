"""HTTP: routes, the request handler, bodies, access, schemas and errors."""
