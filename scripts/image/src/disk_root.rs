//! `ROOT=ext4`: the root file system on a disk of its own, made by `mke2fs` from the same tree that an archive is made from.
//!
//! The files are laid out in a directory beside the image first. All belong to root, whoever makes the image: where that is somebody else,
//! `debugfs` says so to the disk afterwards. Times are kept to the second, by which the kernel knows that a file is the one that was analysed.
//!
//! What stays in the image is, for each file with sites, where it is and what the sites are ([`remains`]).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image_format::write::{Content, Metadata, NodeId, SpecialKind, Tree, View};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use crate::{Failure, Result};

/// What the root can be.
pub const KINDS: [&str; 3] = ["ext2", "ext3", "ext4"];
/// Room on the disk beside twice the files. It is sparse, so it costs nothing before it is used.
const ROOM: u64 = 64 << 20;
const SECOND_NS: i64 = 1_000_000_000;

/// Where the disk of an image is.
#[must_use]
pub fn path_of(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".root");
    name.into()
}

/// Makes the disk of an image.
///
/// # Errors
/// When `mke2fs` is not there, or a file cannot be laid out.
pub fn make(tree: &Tree, kind: &str, files_size: u64, image: &Path) -> Result<()> {
    let disk = path_of(image);
    let mut staging = disk.as_os_str().to_owned();
    staging.push(format!(".new-{}", std::process::id()));
    let staging = PathBuf::from(staging);
    let result = Staging { tree, paths: HashMap::new(), all: Vec::new() }.make(kind, files_size, &staging, &disk);
    // What is left of it harms nobody.
    let _ = fs::remove_dir_all(&staging);
    result
}

/// What the image itself needs of a tree that is on a disk: the files with sites, and the directories above them.
#[must_use]
pub fn remains(tree: &Tree) -> Tree {
    let mut left = Tree::new();
    let mut numbers = HashMap::new();
    let root = left.root();
    keep_sites(tree, tree.root(), &mut left, root, &mut numbers);
    left
}

fn keep_sites(tree: &Tree, from: NodeId, left: &mut Tree, to: NodeId, numbers: &mut HashMap<NodeId, NodeId>) {
    for (name, child) in tree.children(from) {
        let metadata = tree.metadata(child);
        match tree.view(child) {
            View::Directory => {
                if let Ok(directory) = left.add_directory(to, name, metadata) {
                    keep_sites(tree, child, left, directory, numbers);
                }
            }
            View::File { content, sites } if !sites.is_empty() => {
                if let Some(known) = numbers.get(&child) {
                    // The names of one tree fit another.
                    let _ = left.add_hard_link(to, name, *known);
                } else if let Ok(file) = left.add_file(to, name, metadata, Content::Elsewhere { size: content.size() })
                {
                    left.set_sites(file, sites.to_vec());
                    numbers.insert(child, file);
                }
            }
            View::File { .. } | View::Link(_) | View::Special { .. } => {}
        }
    }
}

/// A tree that is laid out in a directory.
struct Staging<'a> {
    tree: &'a Tree,
    /// Where each node is.
    paths: HashMap<NodeId, PathBuf>,
    /// All paths, as the disk has them.
    all: Vec<Vec<u8>>,
}

impl Staging<'_> {
    fn make(mut self, kind: &str, files_size: u64, staging: &Path, disk: &Path) -> Result<()> {
        let failed = |error| Failure::io(staging, &error);
        fs::create_dir(staging).map_err(failed)?;
        let mut directories = Vec::new();
        self.lay_out(self.tree.root(), staging, b"", &mut directories)?;
        // The innermost first: a time changes with what is made in a directory, and what nobody may write comes last.
        for (path, metadata) in directories.into_iter().rev() {
            set_metadata(&path, metadata, true).map_err(|error| Failure::io(&path, &error))?;
        }
        let size = files_size.saturating_mul(2).saturating_add(ROOM) >> 10;
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-F", "-t", kind, "-L", "root", "-d"]).arg(staging).arg(disk).arg(format!("{size}k"));
        let _ = fs::remove_file(disk);
        run(command, None)?;
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let mut script = Vec::new();
        for path in &self.all {
            for field in ["uid", "gid"] {
                script.extend([b"sif \"/", &path[..], b"\" ", field.as_bytes(), b" 0\n"].concat());
            }
        }
        let mut command = Command::new("debugfs");
        command.args(["-w", "-f", "-"]).arg(disk);
        run(command, Some(&script))
    }

    fn lay_out(
        &mut self,
        directory: NodeId,
        at: &Path,
        prefix: &[u8],
        directories: &mut Vec<(PathBuf, Metadata)>,
    ) -> Result<()> {
        directories.push((at.to_owned(), self.tree.metadata(directory)));
        for (name, child) in self.tree.children(directory) {
            let path = at.join(OsStr::from_bytes(name));
            let on_disk = [prefix, name].concat();
            let failed = |error: std::io::Error| Failure::io(&path, &error);
            if let View::Directory = self.tree.view(child) {
                fs::create_dir(&path).map_err(failed)?;
                self.lay_out(child, &path, &[&on_disk[..], b"/"].concat(), directories)?;
            } else if let Some(first) = self.paths.get(&child) {
                fs::hard_link(first, &path).map_err(failed)?;
            } else {
                self.make_node(child, &path).map_err(failed)?;
                self.paths.insert(child, path.clone());
            }
            self.all.push(on_disk);
        }
        Ok(())
    }

    fn make_node(&self, node: NodeId, path: &Path) -> std::io::Result<()> {
        let metadata = self.tree.metadata(node);
        match self.tree.view(node) {
            View::File { content: Content::Bytes(bytes), .. } => fs::write(path, bytes)?,
            View::File { content: Content::HostFile { path: host, .. }, .. } => {
                std::io::copy(&mut File::open(host)?, &mut File::create_new(path)?)?;
            }
            View::Link(target) => {
                symlink(OsStr::from_bytes(target), path)?;
                return set_metadata(path, metadata, false);
            }
            View::Special { kind, device } => {
                let kind = match kind {
                    SpecialKind::CharacterDevice => FileType::CharacterDevice,
                    SpecialKind::BlockDevice => FileType::BlockDevice,
                    SpecialKind::Fifo => FileType::Fifo,
                    SpecialKind::Socket => FileType::Socket,
                };
                mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device)?;
            }
            View::File { content: Content::Elsewhere { .. }, .. } | View::Directory => {}
        }
        set_metadata(path, metadata, true)
    }
}

fn set_metadata(path: &Path, metadata: Metadata, has_mode: bool) -> std::io::Result<()> {
    if has_mode {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.permissions & 0o7777))?;
    }
    let time = Timespec { tv_sec: metadata.modified_ns.div_euclid(SECOND_NS), tv_nsec: 0 };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Runs a program of e2fsprogs.
fn run(mut command: Command, input: Option<&[u8]>) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Failure::new(format!("{name}: {error}; run make setup"));
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").stdout(Stdio::null()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
