// Package undo restores a host after changes, even if the program that made them has crashed.
//
// Every change of the host is written to a journal as data, and synced to disk, before it is made:
//
//	log, err := undo.Open(filepath.Join(runDir, "undo.jsonl"))
//	...
//	change := undo.Write{Path: numvfs, Old: "0", New: "2"}
//	err = log.Do(ctx, change, func() error { return fsys.WriteFile(numvfs, "2") })
//
// Changes are undone newest first. The same process does it ([Log.Undo], [Log.UndoTo]). After a
// kill -9 or a power cut, another process opens the same file and does it.
//
// # A change that failed half-way
//
// A [Record] says that a change may have been made, not that it was made. Its Undo therefore looks
// at the host first:
//
//   - If the change was never made, or has been undone already, Undo does nothing.
//   - If it was made, Undo takes it back.
//   - If the object belongs to somebody else by now, Undo leaves it alone and returns [ErrNotOurs].
//     Examples are another process with the same pid, and a value that neither we nor the former
//     owner wrote.
//
// So the program may die before, during or after a change, and Undo may run any number of times.
// When change returns an error, its record stays pending for the same reason: only Undo finds out
// how much of the change happened.
//
// A reboot undoes most changes, and the host's state after a reboot is not our doing. So each
// record has the id of the boot in which it was made. After a reboot only changes of files on disks
// are undone; for the others Undo returns [ErrPast].
//
// # Dead runs
//
// A run registers its journal in a [Registry] before it changes anything, and removes the entry
// after everything is undone. So the next run finds the journal of a dead run, wherever its run
// directory is.
//
// # Kinds of records
//
// [Write] (a sysfs or debugfs file), [Binding] (a PCI device and its driver), [Module], [Process],
// [Path]. Programs with other kinds of changes implement [Record] and pass a [Kind] to [Open].
package undo
