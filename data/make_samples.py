"""Make the generated samples in this folder again; the same numbers each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d import save
from recon3d.synthetic.ct_scoring import scoring_ct

FOLDER = Path(__file__).parent


def main() -> None:
    """Write ct_sample.nii.gz."""
    volume = scoring_ct((32, 128, 128), 3.0, seed=2022)
    save(volume.with_data(np.round(volume.data).astype(np.int16)), FOLDER / "ct_sample.nii.gz", overwrite=True)


if __name__ == "__main__":
    main()
