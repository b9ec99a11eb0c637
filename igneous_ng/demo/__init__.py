"""The whole way on a synthetic specimen with its truth: from raw tiles to a graph, measured, and told in a report."""
