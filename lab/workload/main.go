package main

import "os"

func main() {
	os.Exit(system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, debugfs: "/sys/kernel/debug",
		sentinels: os.Getenv("IGT_SENTINEL_ON_STDERR") != "", drive: driveByClock,
	}.run(os.Args))
}
