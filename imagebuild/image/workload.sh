# Builds the stand-in workloads: one static program. The images contain it under many names. env -i
# keeps the user's settings of Go out of the build.
. /mnt/in/image/lib.sh
cd /mnt/in/workload
env -i PATH="$PATH" HOME=/mnt/tmp GOENV=off GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 \
	go build -trimpath -ldflags '-s -w' -o /mnt/out/standin $(ls ./*.go | grep -v _test.go)
