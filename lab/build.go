package lab

import (
	"context"
	"embed"
	"errors"

	"vmtb/imagebuild"
	"vmtb/internal/progress"
)

// sources are the inputs of the lab's images that belong to the lab.
//
//go:embed gpu/*.c gpu/*.h gpu/build.sh gpu/config
var sources embed.FS

// Images are the files that the lab boots.
type Images struct {
	imagebuild.LabImages
	GPU GPU // the GPU of the DUT
}

// BuildOptions says which images [BuildImages] builds.
type BuildOptions struct {
	GPU       GPU      // "" is [DefaultGPU]
	Packages  []string // additional Debian packages for the DUT
	Migration bool     // the DUT can save and migrate VFs
	// DUT and Guest say which kernels the two sides boot.
	DUT, Guest imagebuild.Side
}

// GuestImage is the path of the guests' disk in the DUT.
const GuestImage = "/lab/guest.img"

// BuildImages builds the images that are not in the cache yet, and returns the paths of all images.
func BuildImages(ctx context.Context, cacheDir string, o BuildOptions, p *progress.Progress) (Images, error) {
	if err := errors.Join(o.GPU.Check(), imagebuild.CheckPackages(o.Packages)); err != nil {
		return Images{}, err
	}
	images, err := imagebuild.BuildLab(ctx, cacheDir, imagebuild.LabOptions{
		Sources: sources, Packages: o.Packages, Migration: o.Migration, DUT: o.DUT, Guest: o.Guest,
	}, p)
	if err != nil {
		return Images{}, err
	}
	return Images{images, o.GPU.or()}, nil
}

// BuildGPUTest compiles the emulated GPU for its own tests (lab/gpu/qtest).
func BuildGPUTest(ctx context.Context, cacheDir string, p *progress.Progress) (imagebuild.GPUTest, error) {
	return imagebuild.BuildGPUTest(ctx, cacheDir, sources, p)
}
