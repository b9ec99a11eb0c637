"""The steps of the pipeline: one module per area, one class per phase; siblings never import each other."""
