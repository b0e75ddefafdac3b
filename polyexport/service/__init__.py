"""The HTTP service: FastAPI and uvicorn in one process, a batcher that calls the network, and decoding processes."""
