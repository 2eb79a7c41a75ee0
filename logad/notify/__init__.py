"""Notifiers: one file per service that carries messages to people."""
