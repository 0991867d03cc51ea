// Package undo keeps the promise that a host is put back, whatever happens to the program that
// changed it.
//
// Every change of the host is written down as data, and synced to disk, before it is made:
//
//	log, err := undo.Open(filepath.Join(runDir, "undo.jsonl"))
//	...
//	change := undo.Write{Path: numvfs, Old: "0", New: "2"}
//	err = log.Do(ctx, change, func() error { return fsys.WriteFile(numvfs, "2") })
//
// and undone newest first, by the same process ([Log.Undo], [Log.UndoTo]) or, after a kill -9 or a
// power cut, by another one that opens the same file.
//
// # What a change that failed half-way means
//
// A [Record] does not say that a change was made, only that it may have been. Its Undo therefore
// looks at the host first: a change that was never made, or has been undone already, costs nothing;
// one that was made is taken back; and what has since become somebody else's (another process under
// the same pid, a value that neither we nor the former owner wrote) is left alone and reported as
// [ErrNotOurs]. So it does not matter whether the program died before, during or after a change,
// nor how often Undo is run. When change returns an error, its record stays pending for the same
// reason: only Undo knows how much of it happened.
//
// A reboot undoes most changes, and whatever the host looks like after one is not our doing. So
// each record also says in which boot of the host it was made: those that the reboot has undone are
// not looked at any more ([ErrPast]), only files on disks are.
//
// # Dead runs
//
// A [Registry] is where a run leaves word of its journal before it changes anything, and takes it
// away again when all has been put back: so the next run finds what a dead one has left, wherever
// its run directory is.
//
// # Kinds of records
//
// [Write] (a sysfs or debugfs file), [Binding] (a PCI device and its driver), [Module], [Process],
// [Path]. Programs with changes of their own implement [Record] and give [Open] a [Kind].
package undo
