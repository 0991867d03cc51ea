// Package prose writes numbers and durations for people: "2 VFs", "6 min 38 s". Files that programs
// read have formats of their own.
package prose
