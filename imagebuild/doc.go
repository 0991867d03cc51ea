// Package imagebuild builds disk images from Debian packages: those of the lab, and guest images
// for real hardware.
//
// Each image is built in stages, and each stage is an entry of a cache, named by the hash of all
// that goes into it. A stage is a script of image/, which runs in a root tree of Debian packages,
// in a chroot and a mount namespace of its own. [BuildLab] makes the images that package lab boots,
// [BuildGuest] a guest image for real hardware, [BuildGPUTest] what the tests of the emulated GPU
// need. All need root. [Missing] tells what else this machine lacks to build.
package imagebuild
