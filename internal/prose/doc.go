// Package prose formats numbers and durations for people: "2 VFs", "6 min 38 s". Files for programs
// have other formats.
package prose
