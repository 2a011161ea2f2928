"""Random CT anatomy drawn from analytic shapes: the parts that `recon3d.synthetic.ct` puts together."""
