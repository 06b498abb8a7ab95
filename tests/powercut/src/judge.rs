//! [`Judge`]: looks whether what was promised is on a disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::{run, succeed};
use crate::nacre;

/// Looks at one disk.
pub(crate) struct Judge<'a> {
    /// Knows its own data: `PROGRAM check FOLDER`.
    pub(crate) program: &'a Path,
    /// For files made on the way.
    pub(crate) folder: &'a Path,
    /// The last promise.
    pub(crate) promised: u32,
}

impl Judge<'_> {
    /// Repaired by e2fsck, which may do no more than what is done without asking, and read by debugfs.
    ///
    /// # Errors
    /// Says what is lost.
    pub(crate) fn by_linux(&self, partition: &[u8]) -> Result<(), String> {
        let (image, files) = self.prepare(partition)?;
        check_preening(&image)?;
        let request = format!("rdump / {}", files.display());
        succeed(Command::new("debugfs").args(["-R", &request]).arg(&image))?;
        self.check_files(&files)
    }

    /// Mounted and read by this kernel's own file system, and left so that e2fsck finds nothing at all.
    ///
    /// # Errors
    /// Says what is lost.
    pub(crate) fn by_nacre(&self, partition: &[u8]) -> Result<(), String> {
        let (image, files) = self.prepare(partition)?;
        let left = nacre::mount_and_copy(partition, &files)?;
        self.check_files(&files)?;
        fs::write(&image, left).map_err(|error| format!("{}: {error}", image.display()))?;
        succeed(Command::new("e2fsck").arg("-fn").arg(&image)).map(drop).map_err(|text| format!("it left this: {text}"))
    }

    fn prepare(&self, partition: &[u8]) -> Result<(std::path::PathBuf, std::path::PathBuf), String> {
        let (image, files) = (self.folder.join("partition.img"), self.folder.join("files"));
        if self.folder.exists() {
            fs::remove_dir_all(self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        }
        fs::create_dir_all(&files).map_err(|error| format!("{}: {error}", files.display()))?;
        fs::write(&image, partition).map_err(|error| format!("{}: {error}", image.display()))?;
        Ok((image, files))
    }

    fn check_files(&self, files: &Path) -> Result<(), String> {
        let said = succeed(Command::new(self.program).arg("check").arg(files))?;
        let found: u32 = said.trim().parse().map_err(|_| format!("the program says: {said}"))?;
        if found < self.promised {
            return Err(format!("{} was promised, {found} is there", self.promised));
        }
        Ok(())
    }
}

/// Lets e2fsck repair what it repairs without asking: the journal is replayed, files without a name go. Anything else is an error.
fn check_preening(image: &Path) -> Result<(), String> {
    /// It is clean, or was repaired.
    const GOOD: &[i32] = &[0, 1];
    run(Command::new("e2fsck").arg("-fp").arg(image), GOOD).map(drop)
}
