//! The vDSO in a program's memory: `[vvar]`, the page the kernel writes, and `[vdso]`, the code that reads it, right behind.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use mm::object::new_identity;
use mm::{AddressSpace, Backing, Frame, MapOptions, MapRequest, MappedObject, PAGE_SIZE, Rights, Sharing};

use crate::platform::{Platform, VdsoFrames};

/// Where a program has the vDSO.
#[derive(Clone, Copy)]
pub(crate) struct Vdso {
    /// The start of the image.
    pub(crate) image: u64,
    /// Its copy of what [`Platform::call_by_syscall`] names.
    pub(crate) by_syscall: u64,
}

/// Maps the vDSO where there is room. `None` when the machine has none.
pub(crate) fn map(space: &AddressSpace, platform: &dyn Platform) -> Result<Option<Vdso>, Errno> {
    let Some(VdsoFrames { data, image, by_syscall }) = platform.vdso() else { return Ok(None) };
    let image_len = image.len() * PAGE_SIZE;
    let room = MapRequest::anonymous(PAGE_SIZE + image_len, Rights::empty());
    let data_address = space.map(room)?;
    let image_address = data_address + PAGE_SIZE;
    let map = |address, length, rights, options, pages: Pages| {
        let backing = Backing::File { object: Arc::new(pages), offset: 0, access: Rights::READ | Rights::EXECUTE };
        let options = MapOptions::FIXED | options;
        space.map(MapRequest { address, length, rights, sharing: Sharing::Private, options, backing })
    };
    // A program may put breakpoints in its copy of the code, but never change what the kernel says.
    map(data_address, PAGE_SIZE, Rights::READ, MapOptions::FINAL_RIGHTS, Pages::new("[vvar]", vec![data]))?;
    let rights = Rights::READ | Rights::EXECUTE;
    map(image_address, image_len, rights, MapOptions::empty(), Pages::new("[vdso]", image))?;
    Ok(Some(Vdso { image: image_address as u64, by_syscall: (image_address + by_syscall) as u64 }))
}

/// Pages of the kernel's that programs see.
struct Pages {
    name: &'static str,
    frames: Vec<Frame>,
    identity: (u64, u64),
}

impl Pages {
    fn new(name: &'static str, frames: Vec<Frame>) -> Self {
        Self { name, frames, identity: new_identity() }
    }
}

impl MappedObject for Pages {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        usize::try_from(index).ok().and_then(|index| self.frames.get(index)).cloned().ok_or(Errno::EFAULT)
    }

    fn name(&self) -> Vec<u8> {
        self.name.into()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (0, 0)
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}
