"""What commands do, put together from the adapters; one module an operation."""
