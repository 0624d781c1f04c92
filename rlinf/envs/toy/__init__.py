"""A simulator in a page of numpy: for tests and for measuring the pipeline around it."""
