// Package image is "vmtb image": make a guest image, check one.
package image
