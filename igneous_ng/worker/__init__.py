"""Leasing and executing: a supervisor that holds leases and runs no kernel, and children that run tasks."""
