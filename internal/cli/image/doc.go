// Package image has the commands "vmtb image build" and "vmtb image check", for guest images.
package image
