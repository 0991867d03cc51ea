// Package labels describes the abilities of a machine under test as names with values. They have
// the formats of the engines that choose machines by them: LAVA's tags, Slurm's features, GitLab's
// tags. [Parse] parses an operator's own labels, and [Set.Write] writes all labels.
package labels
