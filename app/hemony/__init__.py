"""Hemony trains, evaluates, explains and ships image and audio recognisers from one command."""

__version__ = "0.1.0"
