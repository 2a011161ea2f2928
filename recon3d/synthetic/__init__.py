"""Phantoms and simulators for each modality; every module is imported by name."""
