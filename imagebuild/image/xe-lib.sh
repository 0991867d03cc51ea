# Functions of the scripts that build the images with the real xe driver. The scripts read lib.sh
# first.

# install_igt TREE: links to IGT at the paths of upstream's configuration. vmtb's default
# configuration has the same paths.
install_igt() {
	mkdir -p "$1/usr/local/libexec" "$1/usr/local/bin"
	ln -sfn /usr/libexec/igt-gpu-tools "$1/usr/local/libexec/igt-gpu-tools"
	ln -sf /usr/bin/igt_runner "$1/usr/local/bin/igt_runner"
}

# install_firmware TREE: copies all firmware files of the stage before, for the emulated GPU, to
# /lib/firmware/xe.
install_firmware() {
	mkdir -p "$1/usr/lib/firmware/xe"
	cp /mnt/in/*.bin "$1/usr/lib/firmware/xe/"
}
