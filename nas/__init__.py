"""Training-aware neural architecture search: sessions, drivers, controllers, rewards, the command line."""

__version__ = "0.1.0"
