// Package html shows a run as pages for people.
//
// The pages use no scripts, no inline styles and no files from other places, and all links are
// relative. So they work under the content security policy with which Jenkins serves artifacts.
// Pages show the ends of logs, and link to the files: archive the run directory together with the
// pages.
package html
