"""From a run to people and back: the samples most worth a look are exported, answers are merged into a file of labels."""
