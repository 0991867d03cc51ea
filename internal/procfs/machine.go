package procfs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// machineIDFile has an id that systemd or dbus makes once for each installation of a host:
// machine-id(5).
const machineIDFile = "/etc/machine-id"

// machineApp is hashed into this program's form of the machine id. machine-id(5) asks programs not
// to publish the id itself.
const machineApp = "vmtb run directory"

// MachineID returns an id of this host that does not change from boot to boot: 32 hexadecimal
// digits, or "" if the host has none.
func MachineID() string {
	text, err := os.ReadFile(machineIDFile)
	if err != nil {
		return ""
	}
	return machineID(string(text))
}

// machineID returns the id for the content of machineIDFile, or "" if the file has no id yet.
func machineID(text string) string {
	const digits = 32
	text = strings.TrimSpace(text)
	if len(text) != digits {
		return "" // "uninitialized" or empty: an image before its first boot
	}
	sum := sha256.Sum256([]byte(machineApp + " " + text))
	return hex.EncodeToString(sum[:])[:digits]
}
