//! Collects the root file system of an image: the program, the user's files, and what every Linux program expects.
//!
//! Files of the host keep their permissions, times, symbolic links and hard links; they all belong to root, for it is root
//! who runs the program. The user's files come first, and nothing of ours replaces one of them.

use std::collections::HashMap;
use std::fs::{self, Metadata as HostMetadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use image_format::write::{Content, Metadata, NodeId, SpecialKind, Tree, TreeError};

use crate::{Failure, Result};

/// Directories that programs take for granted, with their permissions.
const STANDARD_DIRECTORIES: [(&str, u32); 11] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/run", 0o755),
    ("var/tmp", 0o1777),
];
/// Deeper trees are refused: the walk recurses.
const DEPTH_MAX: usize = 128;

/// The root file system, and the program's place in it.
#[derive(Debug)]
pub struct Root {
    /// All files.
    pub tree: Tree,
    /// The absolute path of the program.
    pub app_path: Vec<u8>,
}

/// Collects everything.
///
/// `app` goes to the root directory under its own name, or stays where it is if it lies inside `files`. `base` holds
/// standard files, which are added where `files` has none.
///
/// # Errors
/// When a file cannot be read, or two files want the same place.
pub fn collect(app: &Path, files: Option<&Path>, base: Option<&Path>) -> Result<Root> {
    let mut collector = Collector { tree: Tree::new(), links: HashMap::new() };
    let root = collector.tree.root();
    if let Some(files) = files {
        let host = fs::metadata(files).map_err(|error| Failure::io(files, &error))?;
        if !host.is_dir() {
            return Err(Failure::new(format!("{}: not a directory", files.display())));
        }
        collector.tree.set_metadata(root, metadata_of(&host));
        collector.add_children(files, root, 0, IfTaken::Fail)?;
    }
    let app_path = collector.add_app(app, files)?;
    if let Some(base) = base {
        collector.add_children(base, root, 0, IfTaken::Keep)?;
    }
    collector.add_standard_directories();
    Ok(Root { tree: collector.tree, app_path })
}

/// What to do when a name is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfTaken {
    Fail,
    Keep,
}

struct Collector {
    tree: Tree,
    /// Files with several names, by device and inode of the host.
    links: HashMap<(u64, u64), NodeId>,
}

impl Collector {
    fn add_children(&mut self, directory: &Path, parent: NodeId, depth: usize, if_taken: IfTaken) -> Result<()> {
        let failed = |error| Failure::io(directory, &error);
        if depth > DEPTH_MAX {
            return Err(Failure::new(format!("{}: more than {DEPTH_MAX} directories deep", directory.display())));
        }
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.add_entry(&entry.path(), parent, entry.file_name().as_bytes(), depth, if_taken)?;
        }
        Ok(())
    }

    fn add_entry(&mut self, path: &Path, parent: NodeId, name: &[u8], depth: usize, if_taken: IfTaken) -> Result<()> {
        let failed = |error| Failure::io(path, &error);
        let host = fs::symlink_metadata(path).map_err(failed)?;
        let metadata = metadata_of(&host);
        let kind = host.file_type();
        let taken = self.tree.child(parent, name);
        if kind.is_dir() {
            let id = match taken {
                Some(id) if self.tree.is_directory(id) => id,
                Some(_) => return Ok(()),
                None => self.tree.add_directory(parent, name, metadata).map_err(|error| at(path, &error))?,
            };
            return self.add_children(path, id, depth + 1, if_taken);
        }
        if taken.is_some() && if_taken == IfTaken::Keep {
            return Ok(());
        }
        if host.nlink() > 1
            && let Some(&first) = self.links.get(&(host.dev(), host.ino()))
        {
            return self.tree.add_hard_link(parent, name, first).map_err(|error| at(path, &error));
        }
        let added = if kind.is_file() {
            fs::File::open(path).map_err(failed)?;
            self.tree.add_file(parent, name, metadata, Content::HostFile { path: path.to_owned(), size: host.len() })
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(failed)?.into_os_string().into_vec();
            self.tree.add_link(parent, name, metadata, &target)
        } else {
            let special = if kind.is_char_device() {
                SpecialKind::CharacterDevice
            } else if kind.is_block_device() {
                SpecialKind::BlockDevice
            } else if kind.is_fifo() {
                SpecialKind::Fifo
            } else {
                SpecialKind::Socket
            };
            self.tree.add_special(parent, name, metadata, special, host.rdev())
        };
        let id = added.map_err(|error| at(path, &error))?;
        if host.nlink() > 1 {
            self.links.insert((host.dev(), host.ino()), id);
        }
        Ok(())
    }

    /// Finds the program among the files, or adds it to the root directory. Returns its path.
    fn add_app(&mut self, app: &Path, files: Option<&Path>) -> Result<Vec<u8>> {
        if let Some(inside) = files.and_then(|files| path_inside(app, files)) {
            return Ok([b"/", inside.as_os_str().as_bytes()].concat());
        }
        let name =
            app.file_name().ok_or_else(|| Failure::new(format!("{}: not a file name", app.display())))?.as_bytes();
        let host = fs::metadata(app).map_err(|error| Failure::io(app, &error))?;
        // The user asks to run it, so it is a program here, whatever its permissions on the host.
        let metadata = Metadata { permissions: metadata_of(&host).permissions | 0o555, ..metadata_of(&host) };
        let content = Content::HostFile { path: app.to_owned(), size: host.len() };
        self.tree.add_file(self.tree.root(), name, metadata, content).map_err(|error| match error {
            TreeError::Exists(_) => Failure::new(format!(
                "{}: its place /{} is taken by FILES",
                app.display(),
                String::from_utf8_lossy(name)
            )),
            other => at(app, &other),
        })?;
        Ok([b"/", name].concat())
    }

    fn add_standard_directories(&mut self) {
        for (path, permissions) in STANDARD_DIRECTORIES {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            // A parent that the user made something else of keeps the child away.
            if let Some(parent) = self.tree.find(parent.as_bytes()).filter(|&parent| self.tree.is_directory(parent)) {
                let metadata = Metadata::with_permissions(permissions);
                // An error means that the name is taken.
                let _ = self.tree.add_directory(parent, name.as_bytes(), metadata);
            }
        }
    }
}

/// The path of `file` below `directory`, if it is there.
fn path_inside(file: &Path, directory: &Path) -> Option<PathBuf> {
    let inside = fs::canonicalize(file).ok()?.strip_prefix(fs::canonicalize(directory).ok()?).ok()?.to_owned();
    (!inside.as_os_str().is_empty()).then_some(inside)
}

fn metadata_of(host: &HostMetadata) -> Metadata {
    let modified_ns = host.mtime().saturating_mul(1_000_000_000).saturating_add(host.mtime_nsec());
    Metadata { permissions: host.mode() & 0o7777, uid: 0, gid: 0, modified_ns }
}

fn at(path: &Path, error: &TreeError) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use image_format::write::Payload;
    use image_format::{Archive, Image, Inode, InodeIndex};

    use super::*;
    use crate::testing::Scratch;

    fn find(archive: &Archive<'_>, path: &str) -> Option<InodeIndex> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.map(str::as_bytes).try_fold(archive.root(), |directory, name| archive.lookup(directory, name).unwrap())
    }

    fn inode(archive: &Archive<'_>, path: &str) -> Inode {
        archive.inode(find(archive, path).unwrap_or_else(|| panic!("{path} is missing"))).unwrap()
    }

    fn bytes_of(root: Root) -> Vec<u8> {
        Payload { tree: root.tree, ..Payload::default() }.to_bytes().unwrap()
    }

    #[test]
    fn files_keep_what_they_are() {
        let scratch = Scratch::new("root-files");
        let files = scratch.directory("files");
        scratch.directory("files/deep/er");
        scratch.file("files/deep/er/data", b"data");
        fs::hard_link(files.join("deep/er/data"), files.join("twin")).unwrap();
        symlink("deep/er", files.join("link")).unwrap();
        fs::set_permissions(files.join("twin"), fs::Permissions::from_mode(0o4711)).unwrap();
        let app = scratch.file("app", b"program");
        let root = collect(&app, Some(&files), None).unwrap();
        assert_eq!(root.app_path, b"/app");
        let bytes = bytes_of(root);
        let archive = Image::parse(&bytes).unwrap().archive();
        assert_eq!(find(&archive, "twin"), find(&archive, "deep/er/data"));
        let twin = inode(&archive, "twin");
        assert_eq!((twin.mode, twin.links, twin.uid), (0o104_711, 2, 0));
        let host = fs::metadata(files.join("twin")).unwrap();
        assert_eq!(twin.modified_ns, host.mtime() * 1_000_000_000 + host.mtime_nsec());
        assert_eq!(archive.link_target(find(&archive, "link").unwrap()), b"deep/er");
        assert_eq!(inode(&archive, "app").mode & 0o111, 0o111);
        assert_eq!(inode(&archive, "var/tmp").mode, 0o041_777);
    }

    #[test]
    fn program_inside_files_stays_there() {
        let scratch = Scratch::new("root-inside");
        let files = scratch.directory("files");
        scratch.directory("files/bin");
        let app = scratch.file("files/bin/app", b"program");
        let root = collect(&app, Some(&files), None).unwrap();
        assert_eq!(root.app_path, b"/bin/app");
        let bytes = bytes_of(root);
        let archive = Image::parse(&bytes).unwrap().archive();
        assert!(find(&archive, "app").is_none());
    }

    #[test]
    fn users_files_win_over_ours() {
        let scratch = Scratch::new("root-base");
        scratch.directory("files/etc");
        scratch.directory("base/etc");
        scratch.file("files/etc/passwd", b"theirs");
        scratch.file("base/etc/passwd", b"ours");
        scratch.file("base/etc/group", b"ours");
        // Something that is no directory stands in the way of a whole standard directory.
        scratch.file("files/var", b"");
        let app = scratch.file("app", b"program");
        let files = scratch.path("files");
        let bytes = bytes_of(collect(&app, Some(&files), Some(&scratch.path("base"))).unwrap());
        let archive = Image::parse(&bytes).unwrap().archive();
        assert_eq!(archive.data(find(&archive, "etc/passwd").unwrap()), b"theirs");
        assert_eq!(archive.data(find(&archive, "etc/group").unwrap()), b"ours");
        assert_eq!(inode(&archive, "var").mode & 0o170_000, 0o100_000);
        assert!(find(&archive, "var/tmp").is_none() && find(&archive, "tmp").is_some());
    }

    #[test]
    fn conflicts_and_missing_files_are_named() {
        let scratch = Scratch::new("root-errors");
        let files = scratch.directory("files");
        scratch.file("files/app", b"other");
        let app = scratch.file("app", b"program");
        let message = collect(&app, Some(&files), None).unwrap_err().to_string();
        assert!(message.ends_with("its place /app is taken by FILES"), "{message}");
        let message = collect(&app, Some(&scratch.path("nowhere")), None).unwrap_err().to_string();
        assert!(message.ends_with("nowhere: no such file or directory"), "{message}");
        let message = collect(&app, Some(&app), None).unwrap_err().to_string();
        assert!(message.ends_with("app: not a directory"), "{message}");
    }
}
