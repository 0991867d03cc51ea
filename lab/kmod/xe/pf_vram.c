// SPDX-License-Identifier: GPL-2.0
/*
 * PF: the local memory of its VFs, as user space of the host sees it through
 * BAR 2 of a VF, the file resource2 of its PCI device. The emulated device has
 * no such BAR: the file is our own, and its memory is ordinary memory, given page
 * by page as it is touched. Past what the VF was given there is what a GPU has
 * there, nothing that would keep a write: a page of the VF's BAR 3 without
 * registers.
 *
 * Guests do not see it, VFIO goes by config space.
 */

#include <linux/cleanup.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/xarray.h>

#include "pf.h"

/* BAR 3 has the MSI-X table at 0 and the pending bits at 0x2000. */
#define EMPTY_BAR	3
#define EMPTY_OFFSET	0x3000

/**
 * struct xs_vram_bar - BAR 2 of a VF
 * @attr: the file
 * @quota: how much of it is memory, in bytes
 * @pages: the pages that were touched
 * @nothing: page frame for what is past the quota
 */
struct xs_vram_bar {
	struct bin_attribute attr;
	const u64 *quota;
	struct xarray pages;
	unsigned long nothing;
};

static struct page *bar_page(struct xs_vram_bar *bar, pgoff_t index)
{
	struct page *page = xa_load(&bar->pages, index), *other;

	if (page)
		return page;
	page = alloc_page(GFP_HIGHUSER | __GFP_ZERO);
	if (!page)
		return NULL;
	other = xa_cmpxchg(&bar->pages, index, NULL, page, GFP_KERNEL);
	if (!other)
		return page;
	__free_page(page);
	return xa_is_err(other) ? NULL : other;
}

/*
 * Without the PF's lock: it is held while user space is read and written. By page
 * frame number: kernfs gives us a page_mkwrite(), which waits for ever for the
 * mapping of a page that has none.
 */
static vm_fault_t bar_fault(struct vm_fault *vmf)
{
	struct xs_vram_bar *bar = vmf->vma->vm_private_data;
	unsigned long pfn = bar->nothing;
	struct page *page;

	if (vmf->pgoff < READ_ONCE(*bar->quota) >> PAGE_SHIFT) {
		page = bar_page(bar, vmf->pgoff);
		if (!page)
			return VM_FAULT_OOM;
		pfn = page_to_pfn(page);
	}
	return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
}

static const struct vm_operations_struct bar_vm_ops = {
	.fault = bar_fault,
};

static int bar_mmap(struct file *file, struct kobject *kobj, struct bin_attribute *attr,
		    struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED) ||
	    vma->vm_pgoff + vma_pages(vma) > attr->size >> PAGE_SHIFT)
		return -EINVAL;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = attr->private;
	vma->vm_ops = &bar_vm_ops;
	return 0;
}

static int add_bar(struct xs_pf *pf, unsigned int vfid, struct pci_dev *vf, u64 size)
{
	struct xs_vram_bar *bar __free(kfree) = kzalloc(sizeof(*bar), GFP_KERNEL);
	int err;

	if (!bar)
		return -ENOMEM;
	if (pci_resource_len(vf, EMPTY_BAR) < EMPTY_OFFSET + PAGE_SIZE)
		return -ENXIO;
	bar->quota = &pf->vram_quota[vfid];
	bar->nothing = PHYS_PFN(pci_resource_start(vf, EMPTY_BAR) + EMPTY_OFFSET);
	xa_init(&bar->pages);
	sysfs_bin_attr_init(&bar->attr);
	bar->attr.attr.name = "resource2";
	bar->attr.attr.mode = 0600;
	bar->attr.size = size;
	bar->attr.private = bar;
	bar->attr.mmap = bar_mmap;
	err = sysfs_create_bin_file(&vf->dev.kobj, &bar->attr);
	if (err)
		return err;

	guard(mutex)(&pf->lock);

	pf->vf[vfid].vram_bar = no_free_ptr(bar);
	return 0;
}

/**
 * xs_pf_vram_add_bars - give each VF of a discrete device its BAR 2
 * @pf: the PF
 * @num_vfs: number of VFs that are enabled
 *
 * The BARs have a size that lets all VFs have theirs, as xe sets it.
 */
void xs_pf_vram_add_bars(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;
	u64 size;

	if (!xs_is_discrete(pf->xs))
		return;
	size = roundup_pow_of_two(pf->xs->model->vram / num_vfs);
	for (vfid = 1; vfid <= num_vfs; vfid++) {
		struct pci_dev *vf = xs_pf_get_vf_pdev(pf, vfid);

		if (!vf)
			continue;
		if (add_bar(pf, vfid, vf, size))
			xs_warn(pf->xs, "no BAR 2 for VF%u\n", vfid);
		pci_dev_put(vf);
	}
}

/**
 * xs_pf_vram_remove_bars - the reverse of xs_pf_vram_add_bars()
 * @pf: the PF
 * @num_vfs: number of VFs that are enabled
 */
void xs_pf_vram_remove_bars(struct xs_pf *pf, unsigned int num_vfs)
{
	unsigned int vfid;

	for (vfid = 1; vfid <= num_vfs; vfid++) {
		struct pci_dev *vf = xs_pf_get_vf_pdev(pf, vfid);
		struct xs_vram_bar *bar;
		struct page *page;
		unsigned long index;

		scoped_guard(mutex, &pf->lock) {
			bar = pf->vf[vfid].vram_bar;
			pf->vf[vfid].vram_bar = NULL;
		}
		/* Unmaps it everywhere; if the VF was removed, that has been done. */
		if (bar && vf)
			sysfs_remove_bin_file(&vf->dev.kobj, &bar->attr);
		pci_dev_put(vf);
		if (!bar)
			continue;
		xa_for_each(&bar->pages, index, page)
			__free_page(page);
		xa_destroy(&bar->pages);
		kfree(bar);
	}
}

/**
 * xs_pf_vram_clear - clear a VF's local memory
 * @pf: the PF, locked
 * @vfid: VF number
 */
void xs_pf_vram_clear(struct xs_pf *pf, unsigned int vfid)
{
	struct xs_vram_bar *bar = pf->vf[vfid].vram_bar;
	struct page *page;
	unsigned long index;

	if (!bar)
		return;
	xa_for_each(&bar->pages, index, page)
		clear_highpage(page);
}
