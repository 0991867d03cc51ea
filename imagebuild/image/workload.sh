# Builds the stand-in workloads: one static program, which the images have under many names. What the user has set for
# his own Go means nothing in here.
. /mnt/in/image/lib.sh
cd /mnt/in/workload
env -i PATH="$PATH" HOME=/mnt/tmp GOENV=off GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 \
	go build -trimpath -ldflags '-s -w' -o /mnt/out/standin $(ls ./*.go | grep -v _test.go)
