"""Physics as linear operators: torch in, torch out; no files, no priors, nothing of recon3d."""
