package work

// The scripts need only a POSIX shell with /proc. They are tested with dash, bash and busybox.

// prepareScript makes the private directory $1, and the other directories if they do not exist.
const prepareScript = `
mkdir -m 700 -- "$1" && echo 'running ' >"$1/state" || exit
shift
umask 022
for d; do mkdir -p -- "$d" || exit; done`

// baseScript finds the parent for private directories. /tmp may be in memory, which huge output
// would fill.
const baseScript = `
for d in /var/tmp /tmp; do [ -d "$d" ] && [ -w "$d" ] && echo "$d" && exit; done
echo "neither /var/tmp nor /tmp can be written to" >&2; exit 1`

// launchScript starts superviseScript ($1) with shell $2 for the private directory $3 and the
// command $5... in the directory $4. Its output ends when the workload has been started.
//
//   - systemd kills all of a service's control group when it restarts the service. So the script
//     leaves the agent's control group.
//   - setsid forks only in the leader of a process group. So of two in a row one forks: the first
//     makes the second a leader, unless it had to fork itself. "&" would work too, but makes the
//     workload ignore SIGINT and SIGQUIT.
const launchScript = `
sup=$1 sh=$2 dir=$3
cd -- "$4" || exit
shift 4
case $1 in
	*/*) [ -f "$1" ] && [ -x "$1" ] ;;
	*) command -v -- "$1" >/dev/null ;;
esac || { echo "$1: not found" >&2; exit 127; }
{ while IFS=: read -r _ _ group; do
	case $group in *qemu-guest-agent*|*qemu-ga*)
		for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/systemd/cgroup.procs; do
			[ ! -w "$f" ] || echo $$ >"$f"
		done
	esac
done </proc/self/cgroup; } 2>/dev/null
if command -v setsid >/dev/null; then
	exec setsid setsid "$sh" -c "$sup" sh "$dir" "$@"
elif command -v busybox >/dev/null && busybox setsid true 2>/dev/null; then
	exec busybox setsid busybox setsid "$sh" -c "$sup" sh "$dir" "$@"
fi
trap '' HUP
"$sh" -c "$sup" sh "$dir" "$@" &`

// makeGateScript makes the gate in the private directory $1 at which superviseScript waits.
// openGateScript opens it, and blocks until superviseScript waits there.
const (
	makeGateScript = `mkfifo -m 600 -- "$1/gate"`
	openGateScript = `echo go >"$1/gate"`
)

// superviseScript runs the command $2... and writes its exit code to the private directory $1.
// First it writes its process, start time, session (0 if it is not its own) and boot. If there is a
// gate, it waits there; if it is killed there, it runs nothing. It writes the exit code over the
// file's old content, so that a full disk does not lose it. The shell's own messages about a killed
// command go to /dev/null.
const superviseScript = `
dir=$1
shift
in=/dev/null
[ ! -e "$dir/stdin" ] || in=$dir/stdin
trap : HUP INT QUIT TERM
exec 3>&1 4>"$dir/err" >"$dir/out" <"$in" || exit
read -r line </proc/$$/stat
read -r boot </proc/sys/kernel/random/boot_id
ids() { sid=0; [ "$4" != $$ ] || sid=$$; shift 19; start=$1; }
ids ${line##*) }
echo $$ "$start" "$sid" "$boot" >&3
exec 3>&- 2>/dev/null
line=go
[ ! -p "$dir/gate" ] || { line=; read -r line <"$dir/gate"; }
[ "$line" = go ] || { printf 'exit %-3s\n' 143 1<>"$dir/state"; exit; }
(exec 2>&4 4>&-; exec "$@")
printf 'exit %-3s\n' $? 1<>"$dir/state"`

// sweepScript sends signal $1 (0: none, it only looks) once to every process that has $2 in its
// environment or belongs to the session $3. The session's leader started at $4 in boot $5; session
// 0 means none. The script prints the processes that it found. If it kills, and the file $6 says
// that the workload is running, it writes into the file that the workload was killed. Variables in
// an environment end with NUL. Without -z, the grep of busybox looks only at the first one.
const sweepScript = `
sig=$1 mark=$2 sid=$3 start=$4 boot=$5 state=$6 found=
add() { case " $found " in *" $1 "*) ;; *) found="$found $1" ;; esac; }
for f in $(grep -lszxF -- "$mark" /proc/[0-9]*/environ); do
	f=${f#/proc/}
	add "${f%/environ}"
done
now=
{ read -r now </proc/sys/kernel/random/boot_id; } 2>/dev/null
[ "$now" = "$boot" ] || sid=0
look() {
	p=${1#/proc/} p=${p%/stat} line=
	{ read -r line <"$1"; } 2>/dev/null
	set -- ${line##*) } -
	st=$1 s=${4-} t=${20-}
}
if [ "$sid" != 0 ]; then
	look "/proc/$sid/stat"
	[ -z "$line" ] || [ "$t" = "$start" ] || sid=0
fi
[ "$sid" = 0 ] || for f in /proc/[0-9]*/stat; do
	look "$f"
	[ "$s" = "$sid" ] && case $st in Z|X) ;; *) add "$p" ;; esac
done
for p in $found; do kill -"$sig" "$p" 2>/dev/null; done
if [ "$sig" = 9 ] && [ -n "$found" ] && [ -e "$state" ]; then
	read -r line <"$state"
	[ "$line" != running ] || printf 'exit 137\n' 1<>"$state"
fi
echo $found`
