package lab

import (
	"context"
	"embed"
	"errors"

	"vmtb/imagebuild"
	"vmtb/internal/progress"
)

// sources are the parts of the lab's images that are the lab's own.
//
//go:embed kmod workload/*.go gpu/*.c gpu/*.h gpu/build.sh gpu/config
var sources embed.FS

// Images are the files that the lab boots.
type Images struct {
	imagebuild.LabImages
	GPU GPU // what the DUT is to have
}

// BuildOptions say which images [BuildImages] makes.
type BuildOptions struct {
	GPU       GPU      // "" is [DefaultGPU]
	Packages  []string // Debian packages that the DUT has besides its own
	Migration bool     // the DUT can save and migrate VFs. With the stand-ins it always can
}

// GuestImage is where the DUT finds the disk of its guests.
const GuestImage = "/lab/guest.img"

// BuildImages makes the images that are not in the cache yet, and returns where they all are.
func BuildImages(ctx context.Context, cacheDir string, o BuildOptions, p *progress.Progress) (Images, error) {
	if err := errors.Join(o.GPU.Check(), imagebuild.CheckPackages(o.Packages)); err != nil {
		return Images{}, err
	}
	images, err := imagebuild.BuildLab(ctx, cacheDir, imagebuild.LabOptions{
		Sources: sources, Real: o.GPU.Real(), Packages: o.Packages, Migration: o.Migration,
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
