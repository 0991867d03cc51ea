// Package html shows a run as pages for people.
//
// The pages need neither scripts nor anything from elsewhere, have no inline styles, and all links
// are relative: they work under the content security policy with which Jenkins serves artifacts.
// They show the ends of logs, and link to the files: archive the run directory with the pages.
package html
