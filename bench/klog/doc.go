// Package klog judges what kernels log, by rules that people write: each message is to be ignored,
// is a warning, or is a failure.
//
//	rules, err := klog.Parse("my-rules.json", data)
//	rule, action := rules.Judge(klog.Message{Source: klog.Host, Level: 3, Text: "xe 0000:03:00.0: ..."})
//
// The first rule that matches decides; those built in (builtin.json) come after the user's own;
// what none matches is ignored. [ParseConsole] finds the kernel's messages on a serial console,
// which is how a guest's log is seen from outside.
package klog
