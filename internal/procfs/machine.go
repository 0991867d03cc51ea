package procfs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// machineIDFile holds an id that systemd, or dbus, makes once for each installation of a host;
// machine-id(5).
const machineIDFile = "/etc/machine-id"

// machineApp goes into this program's form of the machine id: machine-id(5) asks not to show
// the id itself to others.
const machineApp = "vmtb run directory"

// MachineID returns an id of this host that stays the same from boot to boot, 32 hexadecimal
// digits; "" if the host has none.
func MachineID() string {
	text, err := os.ReadFile(machineIDFile)
	if err != nil {
		return ""
	}
	return machineID(string(text))
}

// machineID is the id for the content of machineIDFile, "" for one that was never filled.
func machineID(text string) string {
	const digits = 32
	text = strings.TrimSpace(text)
	if len(text) != digits {
		return "" // "uninitialized", or empty: an image before its first boot
	}
	sum := sha256.Sum256([]byte(machineApp + " " + text))
	return hex.EncodeToString(sum[:])[:digits]
}
