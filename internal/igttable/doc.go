// Package igttable reads and writes the results of IGT's subtests that docs/igt has, one file for
// each place, and makes the page docs/igt.md of them. "make igt-table" (lab/igttable_test.go) runs
// the subtests.
package igttable
