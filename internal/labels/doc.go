// Package labels has what a machine under test can do, as names with values, in the words of the
// engines that choose machines by them: LAVA's tags, Slurm's features, GitLab's tags. [Parse] reads
// an operator's own, [Set.Write] writes all.
package labels
