"""The network behind HTTP: LitServe queues, batches and spreads; what reads and writes images is the pipeline's own."""
