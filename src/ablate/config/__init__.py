"""The types of a configuration, and what parses and checks them."""
