# Shared by the scripts that build the images with the real xe driver, after lib.sh.

# install_igt TREE: IGT where upstream's configuration, and so vmtb's default, looks for it.
install_igt() {
	mkdir -p "$1/usr/local/libexec" "$1/usr/local/bin"
	ln -sfn /usr/libexec/igt-gpu-tools "$1/usr/local/libexec/igt-gpu-tools"
	ln -sf /usr/bin/igt_runner "$1/usr/local/bin/igt_runner"
}

# install_firmware TREE: the firmware that the emulated GPU takes. Every file of the stage before goes to /lib/firmware/xe.
install_firmware() {
	mkdir -p "$1/usr/lib/firmware/xe"
	cp /mnt/in/*.bin "$1/usr/lib/firmware/xe/"
}
