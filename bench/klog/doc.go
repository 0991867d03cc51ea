// Package klog judges kernel messages by rules that users write. The result for a message is to
// ignore it, to warn, or to fail.
//
//	rules, err := klog.Parse("my-rules.json", data)
//	m := klog.Message{Source: klog.Host, Level: 3, Text: "xe 0000:03:00.0: ..."}
//	rule, action := rules.Judge(m)
//
// The first rule that matches decides. The built-in rules (builtin.json) come after the user's own.
// A message that no rule matches is ignored. [ParseConsole] finds the kernel's messages on a serial
// console, which shows a guest's log from outside.
package klog
