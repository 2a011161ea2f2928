"""What samplers share: time grids, DDIM steps, counter noise, Tweedie covariances; plain functions."""
