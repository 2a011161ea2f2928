"""What surrounds a method: device, threads, memory, progress, resume, provenance and the way from file to file."""
