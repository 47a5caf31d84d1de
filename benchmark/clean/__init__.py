"""Which labels of a person's own images are wrong: several methods asked, their answer calibrated, its quality measured."""
