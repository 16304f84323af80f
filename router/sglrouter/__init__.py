"""The request router: chooses a worker for each request and proxies it byte for byte."""
