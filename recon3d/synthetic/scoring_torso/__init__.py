"""The torso of `recon3d.synthetic.ct_scoring`, written as signed distances: for scoring only, as all of it."""
