"""Two claims of the training papers, taken apart: `python -m benchmarks.training_claims [--finished] [--json]`.

HALO without fine-tuning against gradual magnitude, and the multi-level freezer against the dense network, on
Fashion-MNIST: a residual network, one of linear layers, and the small one on which HALO's claim was first missed; one
epoch a level and more. How hard HALO shrinks is chosen on 5000 training images that are kept apart, figures are of the
test images. Every finished training is kept in `.cache/benchmarks/training_claims`: it may be stopped, and goes on;
`--finished` reports what there is.
"""

from __future__ import annotations

import click
import torch

from benchmarks.common import Result, benchmark
from benchmarks.training_claims.plan import every_run, run
from benchmarks.training_claims.runs import one_training
from benchmarks.training_claims.summary import claims_of, table_of


@benchmark(
    "training_claims",
    click.option(
        "--finished",
        is_flag=True,
        help="Report the trainings that are finished; what is missing counts as not measured.",
    ),
)
def main(quick: bool, finished: bool) -> Result:
    """Train both methods for several lengths beside what they are compared with."""
    torch.set_num_threads(1)
    if quick:
        return Result(
            rows=one_training(
                network="mlp", method="gradual", sparsities=[0.95], epochs=1, seed=0, choosing=True
            )
        )
    found = [(arguments, run(finished=finished, **arguments)) for arguments in every_run(finished=finished)]
    table = table_of(found)
    return Result(rows=table, claims=claims_of(table))


if __name__ == "__main__":
    main()
