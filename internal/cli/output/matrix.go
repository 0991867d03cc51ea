package output

import (
	"time"

	"vmtb/flow"
)

// A Matrix is the output of "vmtb lab matrix": flows with each pair of kernels.
type Matrix struct {
	Dir       string       `json:"dir"` // of the whole matrix
	Kernels   []string     `json:"kernels"`
	Guests    []string     `json:"guest_kernels"`
	Selection []string     `json:"selection"`
	Cells     []MatrixCell `json:"cells"`
	// Differences has an element for each cell in which a flow did not pass that passed in another.
	Differences []MatrixDifference `json:"differences"`
}

// A MatrixCell is a run with one pair of kernels.
type MatrixCell struct {
	Kernel string `json:"kernel"` // of the DUT, as the user gave it; "own" is the lab's own
	Guest  string `json:"guest_kernel"`
	// The releases that ran, "7.2.13+deb14-amd64"; "" if they are not known.
	KernelRelease string    `json:"kernel_release,omitempty"`
	GuestRelease  string    `json:"guest_kernel_release,omitempty"`
	Dir           string    `json:"dir"` // run directory
	Started       time.Time `json:"started,omitzero"`
	Seconds       float64   `json:"seconds,omitempty"`
	// ExitCode is that of "vmtb lab run"; null: the cell has not run to its end.
	ExitCode *int         `json:"exit_code"`
	Error    string       `json:"error,omitempty"` // why there are no results: the DUT did not boot
	Results  []MatrixFlow `json:"results"`
}

// A MatrixFlow is the result of a flow in one cell.
type MatrixFlow struct {
	ID     string      `json:"id"`
	Result flow.Result `json:"result"`
	Reason string      `json:"reason,omitempty"`
}

// A MatrixDifference compares a flow in two cells, of which only one passed it.
type MatrixDifference struct {
	ID     string      `json:"id"`
	Passed MatrixPair  `json:"passed"`
	Failed MatrixPair  `json:"failed"`
	Result flow.Result `json:"result"` // in the cell that did not pass it
	// Where the first message is that only one of the cells has: a file of the run directories, or
	// "reason".
	Where   string `json:"where,omitempty"`
	Only    string `json:"only,omitempty"`    // that message in the cell that did not pass it
	Instead string `json:"instead,omitempty"` // the message in the cell that passed it
}

// A MatrixPair names a cell.
type MatrixPair struct {
	Kernel string `json:"kernel"`
	Guest  string `json:"guest_kernel"`
}
