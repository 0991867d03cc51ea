// Package imagebuild builds disk images from Debian packages: images of the lab, and guest images
// for real hardware.
//
// Each image is built in stages. The result of a stage is an entry of a cache, named by the hash of
// all its inputs. A stage is a script of image/. It runs in a root tree of Debian packages, in a
// chroot and its own mount namespace. [BuildLab] builds the images that package lab boots,
// [BuildGuest] builds a guest image for real hardware, and [BuildGPUTest] builds the files for the
// tests of the emulated GPU. All of them need root. [BuildGuestKernel], which needs no root, packs a
// kernel for guests of other images. [Missing] returns what else this machine lacks
// to build images.
package imagebuild
