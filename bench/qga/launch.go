package qga

import (
	"strings"

	"vmtb/bench"
)

// launchScript runs its arguments $6... in directory $2, if that is not empty. The streams $4 (of
// roomUses) go through the room $3. The token $1 at the end of stderr marks a failure of the script
// itself, not of the command. The script sets no variable, because that could change the command's
// environment.
//
// The script $5 reads a pipe, so output is counted and blocks as on a pipe to vmtb itself. The
// reading process is independent of the command: it is not its child, has no mark, and holds only
// the agent's pipe that it replaces. So for the agent the command ends when all its output is in
// the files, and the agent's output is the script's error message, if any.
const launchScript = `
[ -z "$2" ] || cd -- "$2" || { echo "cannot enter the directory $2 $1" >&2; exit 1; }
case $6 in
	*/*)
		[ -e "$6" ] || { echo "not found $1" >&2; exit 127; }
		[ -f "$6" ] || { echo "not a regular file $1" >&2; exit 126; }
		[ -x "$6" ] || { echo "not executable (chmod +x) $1" >&2; exit 126; } ;;
	*) command -v -- "$6" >/dev/null || { echo "not found in its PATH ($PATH) $1" >&2; exit 127; } ;;
esac
copy() { ( (unset ` + marker + `; exec /bin/sh -c "$2" sh "$1" <"$1.pipe") & ); }
case " $4 " in *" out "*)
	copy "$3/out" "$5" 2>&1
	exec >"$3/out.pipe"
esac
case " $4 " in
*" err "*)
	copy "$3/err" "$5" >&2
	exec 2>"$3/err.pipe" ;;
*" merged "*)
	exec 2>&1
esac
case " $4 " in *" in "*) exec <"$3/in"; esac
shift 5
exec "$@"`

// copyLoop copies its input to the files $1.0, $1.1, ...: 64 reads go to each. It begins a file
// when the reader has emptied the fourth file before it: see ring.
const copyLoop = `
n=0
while :; do
	old=$1.$((n - 4))
	while [ -s "$old" ]; do sleep 0.02 2>/dev/null || sleep 1; done
	[ $n -lt 4 ] || rm -f "$old"
	said=$(dd bs=65536 count=64 of="$1.$n" 2>&1) || { echo "$said"; exit 1; }
	[ -s "$1.$n" ] || exit 0
	n=$((n + 1))
done`

// copyScript returns copyLoop with the programs found in the agent's environment, whatever the
// command's PATH is.
func copyScript(own []string) string {
	for _, v := range own {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			return "PATH=" + bench.Quote(path) + copyLoop
		}
	}
	return copyLoop
}
