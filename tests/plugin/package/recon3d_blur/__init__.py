"""A plug-in for recon3d: wide-field microscopes, deblurred by steps whose lengths are learned."""
